"""ONNX Runtime on the processor."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_runtime.bundle import Bundle
from pose_runtime.engines import numbers
from pose_runtime.errors import NotPossible
from pose_runtime.runtimes import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

CPU = ["CPUExecutionProvider"]
RIGHT_INT8 = (1, 30)
"""The first version that computes these INT8 files rightly. Of 1.19 to 1.29 one release each was tried, on x86-64 with
VNNI, and 1.30.0 and 1.31.0: 1.23 to 1.29 are off by 22.7 mm in the mean with a small trained network, 1.30.0 by 2.3."""


class ONNXRuntime:
    """An ONNX file in a session on the processor.

    Raises:
        NotPossible: BF16, or a version that is too old for the file or computes INT8 wrongly.
    """

    runtime = "onnxruntime"
    largest_batch = None

    def __init__(self, bundle: Bundle, precision: str, threads: int | None = None) -> None:
        if precision == "bf16":
            what = "its CPU provider has no BF16 convolution"
            raise NotPossible("ONNX Runtime cannot run BF16 here", what, "choose openvino or another precision")
        if precision == "int8":
            require_right_int8()
        entry = bundle.onnx(precision)
        self.precision, self.artifact, self.artifact_sha256 = precision, entry["path"], entry["sha256"]
        self._model, self._asked_threads = bundle.content(self.artifact), threads or usable_cores()
        self._session = self._new_session(self._options())
        self._input = self._session.get_inputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Network``."""
        joints: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return joints

    def describe(self) -> str:
        """See ``Network``."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, CPU, threads: {self.threads()}"

    def threads(self) -> int | None:
        """See ``Network``: of the pool that one operator is spread over; operators run one after another."""
        return int(self._session.get_session_options().intra_op_num_threads)

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
        options.intra_op_num_threads, options.inter_op_num_threads = self._asked_threads, 1
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


def require_right_int8() -> None:
    """See that this version was seen to compute INT8 files rightly, or is newer: a wrong pose tells nobody.

    Raises:
        NotPossible: it is older.
    """
    import onnxruntime

    version = str(onnxruntime.__version__)
    if tuple(numbers(version)[:2]) < RIGHT_INT8:
        what = f"ONNX Runtime {version} computes INT8 wrongly"
        seen = f"right since {'.'.join(map(str, RIGHT_INT8))}; the poses before are off by centimetres"
        raise NotPossible(what, seen, "install a newer onnxruntime, or choose openvino or another precision")
