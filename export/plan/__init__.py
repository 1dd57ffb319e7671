"""Precision plans: the precision of each convolution, calibration, rounding, and Q/DQ nodes.

In: a network, calibration images, an error budget. Out: a plan, planned weights, the INT8 graph and its proof.
Imports: ``export.parity`` and below.
"""
