"""Sessions of an exported model, with what only a benchmark asks of them: facts, profiles, bound memory.

In: an exported folder. Out: sessions that run it.
Imports: ``bench.machine`` and below, ``export``.
"""
