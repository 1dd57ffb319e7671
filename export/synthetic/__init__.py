"""Weights without a checkpoint: random ones with released statistics, and networks grown from the demo.

In: an architecture, or the demo's weights. Out: a network's weights.
Imports: ``export.images`` and below.
"""
