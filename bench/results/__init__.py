"""``result.json``: the only definition of what a benchmark saw; its CSV; device reports.

In: files. Out: validated models.
Imports: ``bench.passes`` and below, ``export``.
"""
