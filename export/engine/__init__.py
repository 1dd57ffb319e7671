"""TensorRT and TensorRT-RTX engines: settings, the builder's child process, records, proof of precision.

In: an ONNX file and an ``EnginePlan``. Out: an engine with its record and log.
Imports: ``export.plan`` and below.
"""
