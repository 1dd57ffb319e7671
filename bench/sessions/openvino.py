"""OpenVINO on the CPU, with the additions that a benchmark needs."""

from collections import Counter
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Executed, Joints, LayerTime, Profiler
from export.engine.onnx_checks import planned_fp32
from export.runtime.openvino import OpenVinoSession, compile_for_cpu
from export.runtime.session import model_bytes

COMPUTES = {"fp32": "fp32", "fp16": "fp32", "int8": "int8", "bf16": "bf16"}
"""Precision → precision that OpenVINO must report for the convolutions."""

NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}

ENDS = ("Input", "Output", "Const")
"""Nodes of the runtime model that compute nothing."""


class OpenVino(OpenVinoSession):
    """The session of OpenVINO, with its own clock, bound memory, several callers, facts and a profile."""

    def device_ms(self) -> float:
        """See ``SelfTiming``: OpenVINO's own clock around the last run."""
        return float(self._request.latency)

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """See ``Concurrent``: a second model, compiled for throughput, with a request for each caller.

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

        executed, threads = self._executed(), self.threads_used()
        types = executed.convolutions
        devices = list(self._compiled.get_property("EXECUTION_DEVICES"))
        problems = []
        if devices != ["CPU"]:
            problems.append(f"run on {', '.join(devices)}, not on the CPU")
        if threads != self.threads:
            problems.append(f"{threads} threads, not {self.threads}")
        expected = COMPUTES[self.precision]
        fallbacks = types.total() - types[expected]
        if not types[expected] or (self.precision != "int8" and fallbacks > planned_fp32(model_bytes(self._model))):
            problems.append(f"convolutions do not run in {expected}: {executed}")
        return {
            "device": ", ".join(devices),
            "precision_used": "+".join(sorted(types)),
            "proof": f"runtime model: {executed}",
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
        """See ``Profilable``: a second model, compiled with counters."""
        return OpenVinoProfiler(compile_for_cpu(self._model, self._options | {"PERF_COUNT": True}))

    def _executed(self) -> Executed:
        """Count the nodes of the graph that is executed, and its convolutions by precision."""
        operations = self._compiled.get_runtime_model().get_ordered_ops()
        nodes = sum(op.get_rt_info()["layerType"].astype(str) not in ENDS for op in operations)
        counts: Counter[str] = Counter()
        for kind, count in self.convolution_types().items():
            counts[NAMES.get(kind, kind)] += count
        return Executed(nodes, counts)


class OpenVinoProfiler:
    """A model compiled with performance counters. See ``Profiler``."""

    source = "OpenVINO's performance counters"

    def __init__(self, compiled: Any) -> None:
        self._request: Any = compiled.create_infer_request()
        ops = compiled.get_runtime_model().get_ordered_ops()
        self._origins = {op.get_friendly_name(): op.get_rt_info()["originalLayersNames"].astype(str) for op in ops}
        self._runs, self._unrecorded = 0, 0
        self._before: dict[str, float] = {}

    def run(self, images: NDArray[Any]) -> object:
        """See ``Profiler``."""
        self._runs += 1
        return self._request.infer([images], share_inputs=True)

    def start(self) -> None:
        """See ``Profiler``."""
        self._before, self._unrecorded = averages_ms(self._request.profiling_info), self._runs

    def layers(self) -> list[LayerTime]:
        """See ``Profiler``."""
        means = recorded_means(self._before, self._unrecorded, averages_ms(self._request.profiling_info), self._runs)
        return [LayerTime(name, ms, self._origins.get(name, "")) for name, ms in means.items()]


def averages_ms(counters: Sequence[Any]) -> dict[str, float]:
    """Return the mean ms of each node that runs, since the model was compiled, in the order of execution."""
    averages: dict[str, float] = {}
    for counter in counters:
        if counter.status.name == "EXECUTED":
            ms = counter.real_time.total_seconds() * 1e3
            averages[counter.node_name] = averages.get(counter.node_name, 0.0) + ms
    return averages


def recorded_means(before: dict[str, float], unrecorded: int, after: dict[str, float], runs: int) -> dict[str, float]:
    """Return means over the runs after the first ``unrecorded`` of ``runs``.

    The counters are averages over all runs since the model was compiled, rounded down to a microsecond, and the first
    runs are slow. The mean of the runs in between follows from two averages; rounding may bring it a little below 0.
    """
    return {
        name: max(0.0, (runs * ms - unrecorded * before.get(name, 0.0)) / (runs - unrecorded))
        for name, ms in after.items()
    }
