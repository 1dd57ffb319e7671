"""Foundations: whole files and their hashes, JSON records, progress, errors, names of inputs and outputs.

In: paths and plain data. Out: files that are written whole, records that were validated.
Imports: ``export.runtime`` only (errors, GPU query).
"""
