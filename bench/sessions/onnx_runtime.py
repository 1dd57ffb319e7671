"""ONNX Runtime on the CPU, with the additions that a benchmark needs."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Joints, Profiler, in_words
from export.runtime.onnx_runtime import CPU, OnnxRuntimeSession, session_options


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

        from bench.sessions.onnx_placement import executed_graph, quantises

        executed = executed_graph(self._model, session_options(self.threads), CPU)
        types = executed.convolutions
        used = "+".join(sorted(types)) or "fp32"
        providers = self._session.get_providers()
        problems = []
        if providers != list(CPU):
            problems.append(f"the session's providers are {providers}, not {list(CPU)}")
        if self.precision == "int8" and "int8" not in types and not quantises(self._model):
            problems.append(f"not an int8 file: {in_words(types)}")  # one that is runs in FP32, with values rounded
        threads = self.threads_used()
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
        from bench.sessions.onnx_profile import OnnxRuntimeProfiler

        return OnnxRuntimeProfiler(self._model, session_options(self.threads))
