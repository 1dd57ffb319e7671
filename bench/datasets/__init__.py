"""Datasets: people cut out of annotated images, by one protocol; a module for each source.

In: a folder in the layout of a dataset. Out: a ``Dataset`` of samples with crop and annotation.
Imports: ``bench.sessions`` and below, ``export``.
"""
