"""Charts, one in each module: pure functions without files.

In: rows of a measurement. Out: a ``views.Chart`` with a Vega-Lite specification and its description, or None.
May import ``altair``, and of ``bench.report`` the measurement, rows, theme and views.
"""
