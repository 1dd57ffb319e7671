"""The number of upsamplings, which no tensor shows: detected from the poses of moved images.

In: a checkpoint and crops. Out: the evidence for each number.
Imports: ``export.model``, ``export.images`` and their foundations.
"""
