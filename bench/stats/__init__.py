"""Statistics of measurements: intervals, percentiles, warm-up, stopping, quality of a row.

In: samples and round medians in ms. Out: intervals, percentiles, and decisions with their reasons.
Everything is a pure function: no clock, no file, no process. docs/measuring.md explains the protocol.
Imports: nothing of the project.
"""
