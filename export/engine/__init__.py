"""Build TensorRT and TensorRT-RTX engines, and prove that they keep the precision of their ONNX file.

In: an ONNX file and an ``EnginePlan``. Out: an engine with its record (``EngineRecord``) and the builder's log.
A child process builds, so that a crash of NVIDIA's library ends that process only.
May import: ``export.plan`` and the packages below it.
"""
