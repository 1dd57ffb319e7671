"""ONNX Runtime on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Joints, Profiler, in_words
from bench.machine import usable_cores

CPU = ["CPUExecutionProvider"]


class OnnxRuntime:
    """An ONNX file in a CPU session."""

    runtime = "onnxruntime"

    def __init__(self, model: Path, precision: str, threads: int | None = None) -> None:
        self.precision = precision
        self.threads = threads or usable_cores()
        self._model = model
        self._session: Any = onnx_runtime_session(model, self.threads)
        (self._input,) = self._session.get_inputs()
        self.takes_pixels = self._input.type == "tensor(uint8)"

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``."""
        joints: Joints = self._session.run(None, {self._input.name: images})[0]
        return joints

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

        from bench.backends.onnx_placement import executed_graph, quantises

        executed = executed_graph(self._model, session_options(self.threads), CPU)
        types = executed.convolutions
        used = "+".join(sorted(types)) or "fp32"
        providers = self._session.get_providers()
        problems = []
        if providers != CPU:
            problems.append(f"the session's providers are {providers}, not {CPU}")
        if self.precision == "int8" and "int8" not in types and not quantises(self._model):
            problems.append(f"not an int8 file: {in_words(types)}")  # one that is runs in FP32, with values rounded
        threads = self._session.get_session_options().intra_op_num_threads
        if threads != self.threads:
            problems.append(f"{threads} threads, not {self.threads}")
        return {
            "device": "CPU",
            "precision_used": used,
            "proof": f"optimised graph: {in_words(types)}; providers {providers}",
            "executed": executed.as_facts(),
            "threads": threads,
            "versions": {"onnxruntime": onnxruntime.__version__},
            "options": {"providers": providers, "inter_op_num_threads": 1, "session.force_spinning_stop": "1"},
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: a second session, with the same options."""
        from bench.backends.onnx_profile import OnnxRuntimeProfiler

        return OnnxRuntimeProfiler(self._model, session_options(self.threads), CPU)

    def describe(self) -> str:
        """See ``Backend``."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, CPU, threads: {self.threads}"

    def close(self) -> None:
        """See ``Backend``."""
        self._session = None


def onnx_runtime_session(model: Path | bytes, threads: int) -> Any:
    """A session with exactly ``threads`` threads, whose idle workers leave the processor alone after each run."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, session_options(threads), providers=CPU)


def session_options(threads: int) -> Any:
    """``threads`` threads in an operator, one operator at a time, no spinning between runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
