"""OpenVINO on the CPU, with the additions that a benchmark needs."""

from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Executed, Joints, Profiler, in_words
from export.engine.onnx_checks import planned_fp32
from export.runtime.openvino import OpenVinoSession, compile_for_cpu
from export.runtime.session import model_bytes

COMPUTES = {"fp32": "fp32", "fp16": "fp32", "int8": "int8", "bf16": "bf16"}
"""Precision → what OpenVINO must report of the convolutions."""

NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}


ENDS = ("Input", "Output", "Const")
"""Nodes of the runtime model in which nothing is computed."""


class OpenVino(OpenVinoSession):
    """The session of OpenVINO, with its own clock, bound memory, several callers, facts and a profile."""

    def device_ms(self) -> float:
        """See ``SelfTiming``: OpenVINO's own clock around the last run."""
        return float(self._request.latency)

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """See ``Concurrent``: compiled once more, for throughput, with a request for each caller.

        OpenVINO divides the threads among as many streams as serve these calls best; NUM_STREAMS stays its choice.
        """
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": count}
        options = {name: value for name, value in self._options.items() if name != "NUM_STREAMS"} | hints
        compiled = compile_for_cpu(self._model, options)
        idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            idle.put(compiled.create_infer_request())

        def run(images: NDArray[Any]) -> Joints:
            request = idle.get()
            try:
                joints: Joints = request.infer([images], share_inputs=True)[0]
            finally:
                idle.put(request)
            return joints

        return run

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        import openvino

        request = self._compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(images, shared_memory=True))

        def run() -> None:
            request.start_async()
            request.wait()

        return run

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import openvino

        executed = self._executed()
        types, threads = executed.convolutions, self.threads_used()
        devices = list(self._compiled.get_property("EXECUTION_DEVICES"))
        problems = []
        if devices != ["CPU"]:
            problems.append(f"run on {', '.join(devices)}, not on the CPU")
        if threads != self.threads:
            problems.append(f"{threads} threads, not {self.threads}")
        wanted = COMPUTES[self.precision]
        others = types.total() - types[wanted]
        if not types[wanted] or (self.precision != "int8" and others > planned_fp32(model_bytes(self._model))):
            problems.append(f"convolutions do not run in {wanted}: {in_words(types)}")
        return {
            "device": ", ".join(devices),
            "precision_used": "+".join(sorted(types)),
            "proof": f"runtime model: {in_words(types)}",
            "executed": executed.as_facts(),
            "threads": threads,
            "versions": {"openvino": openvino.__version__},
            "options": {
                "INFERENCE_PRECISION_HINT": self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
                "NUM_STREAMS": int(self._compiled.get_property("NUM_STREAMS")),
                "PERFORMANCE_HINT": "LATENCY",
            },
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: compiled once more, with counters."""
        from bench.sessions.openvino_profile import OpenVinoProfiler

        return OpenVinoProfiler(compile_for_cpu(self._model, self._options | {"PERF_COUNT": True}))

    def _executed(self) -> Executed:
        """Count the nodes of the graph that is executed, and its convolutions by precision."""
        operations = self._compiled.get_runtime_model().get_ordered_ops()
        nodes = sum(op.get_rt_info()["layerType"].astype(str) not in ENDS for op in operations)
        counts: Counter[str] = Counter()
        for kind, count in self.convolution_types().items():
            counts[NAMES.get(kind, kind)] += count
        return Executed(nodes, counts)
