"""Accuracy: MPJPE of artifacts on annotated images.

In: an exported folder and a dataset. Out: an evaluation.
Imports: ``bench.datasets``, ``bench.sessions`` and below, ``export``.
"""
