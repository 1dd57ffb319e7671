"""Models loaded in a runtime, with what only a benchmark asks of them.

In: an export's folder, a runtime's name and a variant (a precision, with ``-pixels`` behind for uint8 input).
Out: a ``Session``; optional protocols add facts, the runtime's own clock, bound memory, callers in parallel, a profile.
ONNX Runtime, OpenVINO and TensorRT sessions are those of ``export.runtime``, which bundles ship; PyTorch and ONNX
Runtime's GPU providers are used by benchmarks only and live here.
Imports: ``bench.machine``, ``bench.stats`` and ``export``.
"""
