"""Statistics of measurements: intervals, warm-up, stopping, quality of a row. Pure functions.

In: samples. Out: figures and verdicts.
Imports: nothing of the project but ``export.common``.
"""
