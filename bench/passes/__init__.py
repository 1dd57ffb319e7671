"""Measurements inside a worker process: timing loop, throughput, energy, image to joints, layer times.

In: a session, its inputs, and a duration. Out: samples in ms, and plain data for ``bench.results``.
Imports: ``bench.predict`` and below, ``export``.
"""
