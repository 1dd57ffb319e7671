"""The regression gate: baseline against candidate, decided pass, fail or inconclusive.

In: two exported folders. Out: a decision.
Imports: ``bench.harness`` and below, ``export``.
"""
