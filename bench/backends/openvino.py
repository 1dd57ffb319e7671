"""OpenVINO on the CPU, which runs BF16 files as well."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Joints
from bench.machine import usable_cores
from export.runners import OpenVino as Loaded


class OpenVino:
    """An ONNX file, compiled for this processor in the file's own precision."""

    runtime = "openvino"
    takes_pixels = False

    def __init__(self, model: Path, precision: str, threads: int | None = None) -> None:
        self.precision = precision
        self.threads = threads or usable_cores()
        self._model: Any = Loaded(model, self.threads)

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``."""
        joints: Joints = self._model.run(images)
        return joints

    def describe(self) -> str:
        """See ``Backend``."""
        return f"{self._model.describe()}, threads: {self.threads}"

    def close(self) -> None:
        """See ``Backend``."""
        self._model = None
