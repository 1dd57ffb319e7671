"""``result.json``: the only definition of a benchmark's measurements; device reports.

In: files. Out: validated models.
Imports: ``bench.passes`` and below, ``export``.
"""
