"""Sessions of ONNX Runtime on the processor."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import NotPossible
from .host import TEMPORARY_PREFIX
from .processor import default_threads
from .session import Images, Joints, Model, version_numbers

CPU = ("CPUExecutionProvider",)
NO_BF16 = "its CPU provider has no BF16 convolution"
RIGHT_INT8 = (1, 30)
"""First version that computes these INT8 files correctly. One release each of 1.19 to 1.31 was measured on x86-64 with
VNNI: 1.23 to 1.29 have a mean error of 22.7 mm with a small trained network, 1.30.0 of 2.3 mm. On aarch64,
emulated, 1.23.2 has 25.2 mm and 1.32.0 has 2.2 mm."""
WRONG_INT8 = "computes INT8 files wrongly; 1.30 is correct"
PIXELS = "tensor(uint8)"
"""ONNX Runtime's type of an input of pixels."""
TYPE_NAMES = {"float": "float32"}
"""ONNX Runtime's names of types → NumPy's."""


def int8_is_wrong(version: str) -> bool:
    """Return whether this version of ONNX Runtime computes INT8 files wrongly.

    >>> int8_is_wrong("1.29.0"), int8_is_wrong("1.30.0rc1")
    (True, False)
    """
    return tuple(version_numbers(version)[:2]) < RIGHT_INT8


def why_not(precision: str) -> str | None:
    """Return why the installed ONNX Runtime cannot run files of this precision on a processor; None if it can."""
    import onnxruntime

    version = str(onnxruntime.__version__)  # package metadata may belong to another package
    if precision == "bf16":
        return NO_BF16
    if precision == "int8" and int8_is_wrong(version):
        return f"onnxruntime {version} {WRONG_INT8}; earlier versions are wrong by centimetres"
    return None


class OnnxRuntimeSession:
    """An ONNX model in a session on the processor.

    Args:
        model: the ONNX model.
        precision: of the model.
        threads: number of threads; by default as many as this process may use.
        optimise: whether ONNX Runtime may fuse nodes and remove casts.

    Raises:
        NotPossible: BF16, or a version that is too old for the model or computes INT8 wrongly.
    """

    runtime = "onnxruntime"
    largest_batch: int | None = None

    def __init__(self, model: Model, precision: str, threads: int | None = None, *, optimise: bool = True) -> None:
        import onnxruntime

        version = onnxruntime.__version__
        reason = why_not(precision)
        if reason is not None:
            advice = "choose openvino or another precision, or install a newer onnxruntime"
            raise NotPossible(f"ONNX Runtime {version} cannot run {precision} here", reason, advice)
        self.precision, self.threads, self._model = precision, threads or default_threads(), model
        self._optimise = optimise
        try:
            self._session: Any = open_session(model, self._options())
        except Exception as error:  # its errors have no common class of their own
            problem = f"ONNX Runtime {version} does not load the {precision} model"
            advice = "install a newer onnxruntime, or choose another precision"
            raise NotPossible(problem, str(error).strip().splitlines()[0], advice) from error
        (self._input,) = self._session.get_inputs()
        self.takes_pixels = self._input.type == PIXELS

    def run(self, images: Images) -> Joints:
        """Return the joints of one batch."""
        joints: Joints = self._session.run(None, {self._input.name: images})[0]
        return joints

    def describe(self) -> str:
        """Return version, device and threads."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, CPU, threads: {self.threads_used()}"

    def threads_used(self) -> int:
        """Return the number of threads of one operator; operators run one after another."""
        return int(self._session.get_session_options().intra_op_num_threads)

    def convolution_types(self) -> dict[str, int]:
        """Count the types of convolutions' outputs, from the profile of one run in another session."""
        import numpy as np

        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")
            session = open_session(self._model, options)
            kind = np.uint8 if self.takes_pixels else np.float32
            session.run(None, {self._input.name: np.zeros([1, *self._input.shape[1:]], kind)})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        kernels = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
        outputs = [kernel["output_type_shape"] for kernel in kernels if kernel["op_name"].endswith("Conv")]
        return Counter(TYPE_NAMES.get(kind, kind) for output in outputs for kinds in output for kind in kinds)

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _options(self) -> Any:
        return session_options(self.threads, optimise=self._optimise)


def session_options(threads: int | None = None, *, optimise: bool = True) -> Any:
    """Return options: exactly ``threads`` threads, one operator at a time, no spinning between runs.

    Without ``optimise`` no node is fused and no cast removed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning idle threads would slow the next measurement.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def open_session(model: Model, options: Any, providers: Sequence[Any] = CPU, **more: Any) -> Any:
    """Open ONNX Runtime's own session."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, options, providers=list(providers), **more)
