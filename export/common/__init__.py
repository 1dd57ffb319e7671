"""Foundations: whole files, hashes, locks, temporary folders, JSON records, progress, errors, names of a graph.

In: paths and plain data. Out: files that are written whole, records that were validated.
Imports: ``export.runtime`` only (errors, GPU query).
"""
