"""One figure a file: plain values → a Vega-Lite specification and what it shows in words. Pure functions."""
