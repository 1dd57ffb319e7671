"""ONNX Runtime on the CPU, with the additions that a benchmark needs."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Executed, Joints, Profiler
from export.runtime.onnx_runtime import CPU, OnnxRuntimeSession, open_session, session_options
from export.runtime.session import Model, model_bytes

TYPES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "INT8": "int8", "UINT8": "int8"}
INTEGER_CONVOLUTIONS = ("QLinearConv", "ConvInteger")


class OnnxRuntime(OnnxRuntimeSession):
    """The session of ONNX Runtime, with bound memory, several callers, facts and a profile."""

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """See ``Concurrent``: all threads call the one session."""
        return self.run

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input.name, images)
        binding.bind_output(self._session.get_outputs()[0].name)
        return lambda: self._session.run_with_iobinding(binding)

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import onnxruntime

        executed = executed_graph(self._model, session_options(self.threads), CPU)
        providers, threads = self._session.get_providers(), self.threads_used()
        problems = []
        if providers != list(CPU):
            problems.append(f"the session's providers are {providers}, not {list(CPU)}")
        if self.precision == "int8" and "int8" not in executed.convolutions and not quantizes(self._model):
            problems.append(f"not an int8 file: {executed}")  # a real one may run in FP32, with rounded values
        if threads != self.threads:
            problems.append(f"{threads} threads, not {self.threads}")
        return {
            "device": "CPU",
            "precision_used": "+".join(sorted(executed.convolutions)) or "fp32",
            "proof": f"optimised graph: {executed}; providers {providers}",
            "executed": executed.as_facts(),
            "threads": threads,
            "versions": {"onnxruntime": onnxruntime.__version__},
            "options": {"providers": providers, "inter_op_num_threads": 1, "session.force_spinning_stop": "1"},
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: a second session, with the same options."""
        from bench.sessions.onnx_profile import OnnxRuntimeProfiler

        return OnnxRuntimeProfiler(self._model, session_options(self.threads))


def executed_graph(model: Model, options: Any, providers: Sequence[Any]) -> Executed:
    """Count nodes and convolutions in the optimised graph, which is written to a file and read.

    Where a processor has no kernel for a type, ONNX Runtime casts to one that it has, and where an explicitly
    quantized convolution does not fuse, it computes in float32.

    Args:
        model: the ONNX model.
        options: the session's options, changed here.
        providers: the session's providers.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        open_session(model, options, providers)
        graph = onnx.load(path).graph
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in INTEGER_CONVOLUTIONS:
            counts["int8"] += 1
        elif node.op_type in ("Conv", "FusedConv"):
            counts[TYPES.get(types.get(node.input[1], ""), "fp32")] += 1
    return Executed(len(graph.node), counts)


def quantizes(model: Model) -> bool:
    """Return whether the file rounds values to int8, whatever a runtime then computes in."""
    import onnx

    return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(model_bytes(model)).graph.node)
