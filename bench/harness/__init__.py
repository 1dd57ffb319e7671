"""The harness: worker processes, rounds, launches, candidates, and the benchmark itself.

In: an exported folder and settings. Out: a ``Result``.
Imports: ``bench.results`` and below, ``export``.
"""
