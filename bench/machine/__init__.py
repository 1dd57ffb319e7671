"""The machine: environment, fingerprint, sensors, energy meters, locks, and what ``doctor`` says.

In: nothing but the system. Out: facts as plain data.
Imports: ``bench.stats`` and ``export``.
"""
