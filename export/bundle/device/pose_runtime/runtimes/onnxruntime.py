"""ONNX Runtime on the processor."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_runtime.bundle import Bundle
from pose_runtime.errors import NotPossible
from pose_runtime.runtimes import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

CPU = ["CPUExecutionProvider"]


class ONNXRuntime:
    """An ONNX file in a session on the processor.

    Raises:
        NotPossible: BF16, or a version that is too old for the file.
    """

    runtime = "onnxruntime"
    largest_batch = None

    def __init__(self, bundle: Bundle, precision: str, threads: int | None = None) -> None:
        if precision == "bf16":
            what = "its CPU provider has no BF16 convolution"
            raise NotPossible("ONNX Runtime cannot run BF16 here", what, "choose openvino or another precision")
        entry = bundle.onnx(precision)
        self.precision, self.artifact, self.artifact_sha256 = precision, entry["path"], entry["sha256"]
        self._model, self.threads = bundle.content(self.artifact), threads or usable_cores()
        self._session = self._new_session(self._options())
        self._input = self._session.get_inputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Network``."""
        joints: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return joints

    def describe(self) -> str:
        """See ``Network``."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, CPU, threads: {self.threads}"

    def computes_in(self) -> str:
        """See ``Network``: from the profile of one run, in a session of its own."""
        with tempfile.TemporaryDirectory() as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")
            session = self._new_session(options)
            shape = session.get_inputs()[0].shape[1:]
            session.run(None, {self._input: np.zeros([1, *shape], np.float32)})
            with open(session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
        kernels = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
        outputs = [kernel["output_type_shape"] for kernel in kernels if kernel["op_name"].endswith("Conv")]
        return " and ".join(sorted({kind for output in outputs for kinds in output for kind in kinds}))

    def close(self) -> None:
        """See ``Network``."""
        self._session = None

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        # Idle threads must not spin: what runs next would find the processor taken.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _new_session(self, options: Any) -> Any:
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(self._model, options, providers=CPU)
        except Exception as error:  # its errors have no common class of their own
            seen = str(error).strip().splitlines()[0]
            do = "install a newer onnxruntime, or choose another precision"
            raise NotPossible(
                f"ONNX Runtime {onnxruntime.__version__} does not load {self.artifact}", seen, do
            ) from error
