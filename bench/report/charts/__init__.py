"""One chart a file: pure functions from rows to a Vega-Lite specification and what it shows in words."""
