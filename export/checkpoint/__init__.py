"""Checkpoints of uncertain origin: containers, evidence from tensors, the verdict, published claims.

In: a file. Out: tensors under canonical names, and each architecture field with the source of its value.
Imports: ``export.engine`` and below.
"""
