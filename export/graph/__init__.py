"""The graph that is deployed: exact rewritings, precisions, ONNX writing, type proof, simulated rounding.

In: a reference network. Out: a typed ONNX file, and the proof that it has the types it claims.
Imports: ``export.images`` and below.
"""
