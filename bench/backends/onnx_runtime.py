"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Joints
from bench.machine import usable_cores


class OnnxRuntime:
    """An ONNX file in a CPU session."""

    runtime = "onnxruntime"

    def __init__(self, model: Path, precision: str, threads: int | None = None) -> None:
        self.precision = precision
        self.threads = threads or usable_cores()
        self._session: Any = onnx_runtime_session(model, self.threads)
        (self._input,) = self._session.get_inputs()
        self.takes_pixels = self._input.type == "tensor(uint8)"

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``."""
        joints: Joints = self._session.run(None, {self._input.name: images})[0]
        return joints

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

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
