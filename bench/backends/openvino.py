"""OpenVINO on the CPU, with the precision that it computes in pinned and read back."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Executed, Joints, Profiler, in_words
from bench.machine import usable_cores
from export.engine_network import planned_fp32
from export.openvino_core import openvino_core
from export.runners import FILE_TYPES

COMPUTES = {"fp32": "f32", "fp16": "f32", "int8": "i8", "bf16": "bf16"}
"""Precision → what OpenVINO must report of the convolutions."""

NAMES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}


ENDS = ("Input", "Output", "Const")
"""Nodes of the runtime model in which nothing is computed."""


class OpenVino:
    """An ONNX file, compiled for the CPU."""

    runtime = "openvino"

    def __init__(self, model: Path, precision: str, threads: int | None = None) -> None:
        self.precision = precision
        self.threads = threads or usable_cores()
        core = openvino_core()
        self._model = model
        self._options = {
            **FILE_TYPES,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        self._compiled: Any = core.compile_model(model, "CPU", self._options)
        self._request = self._compiled.create_infer_request()
        self.takes_pixels = self._compiled.input(0).element_type.to_string() == "u8"

    @property
    def compiled(self) -> Any:
        """The compiled model, for whoever times it with another tool."""
        return self._compiled

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``; the result is copied out."""
        joints: Joints = self._request.infer([images], share_inputs=True)[0]
        return joints

    def device_ms(self) -> float:
        """See ``SelfTiming``: OpenVINO's own clock around the last run."""
        return float(self._request.latency)

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """See ``Concurrent``: compiled once more, for throughput, with a request for each caller.

        OpenVINO divides the threads among as many streams as serve these calls best; NUM_STREAMS stays its choice.
        """
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": count}
        options = {name: value for name, value in self._options.items() if name != "NUM_STREAMS"} | hints
        compiled: Any = openvino_core().compile_model(self._model, "CPU", options)
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
        types = executed.convolutions
        devices, threads = (self._compiled.get_property(n) for n in ("EXECUTION_DEVICES", "INFERENCE_NUM_THREADS"))
        problems = []
        if list(devices) != ["CPU"]:
            problems.append(f"run on {', '.join(devices)}, not on the CPU")
        if threads != self.threads:
            problems.append(f"{threads} threads, not {self.threads}")
        wanted = COMPUTES[self.precision]
        others = types.total() - types[NAMES[wanted]]
        if not types[NAMES[wanted]] or (self.precision != "int8" and others > planned_fp32(self._model.read_bytes())):
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
        from bench.backends.openvino_profile import OpenVinoProfiler

        options = self._options | {"PERF_COUNT": True}
        return OpenVinoProfiler(openvino_core().compile_model(self._model, "CPU", options))

    def _executed(self) -> Executed:
        """The graph that is executed, as the plug-in reports it."""
        counts: Counter[str] = Counter()
        nodes = 0
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            about = node.get_rt_info()
            layer = about["layerType"].astype(str)
            nodes += layer not in ENDS
            if layer == "Convolution":
                kind = about["runtimePrecision"].astype(str)
                counts[NAMES.get(kind, kind)] += 1
        return Executed(nodes, counts)

    def describe(self) -> str:
        """See ``Backend``."""
        import openvino

        types = in_words(self._executed().convolutions)
        return f"openvino {openvino.__version__.split('-')[0]}, CPU, threads: {self.threads}; convolutions: {types}"

    def close(self) -> None:
        """See ``Backend``."""
        self._request = self._compiled = None
