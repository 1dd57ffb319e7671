"""Measurements inside a worker: timing loop, throughput, energy, image to joints, layer times, machine peak.

In: a session. Out: samples and profiles.
Imports: ``bench.predict`` and below, ``export``.
"""
