"""Sessions of a bundle's artifacts; only bytes that the manifest or a record of this device promises are loaded."""

from __future__ import annotations

from typing import NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.engines import BUILT_HERE, find_engine
from pose_runtime.runtime.engine_file import PRODUCTS, require_recent
from pose_runtime.runtime.gpu import first_gpu
from pose_runtime.runtime.registry import RUNTIMES, load_library, session_class
from pose_runtime.runtime.session import Session

INT8_PROBE = "pose_runtime/runtime/int8_probe.onnx"
"""Path of the model that an OpenVINO session runs to see whether INT8 sums saturate."""


class OpenSession(NamedTuple):
    """A session, and the file that was loaded into it."""

    session: Session
    artifact: str
    sha256: str


def open_session(bundle: Bundle, runtime: str, precision: str, threads: int | None = None) -> OpenSession:
    """Load the bundle's artifact of this precision in this runtime.

    Raises:
        CheckFailed: the file to be loaded is not the manifest's.
        NotPossible: the runtime is not installed, or does not run this precision here.
    """
    session = session_class(runtime)
    if not RUNTIMES[runtime].on_gpu:
        if (runtime, precision) == ("openvino", "int8"):
            bundle.content(INT8_PROBE)
        entry = bundle.onnx(precision)
        return OpenSession(session(bundle.content(entry["path"]), precision, threads), entry["path"], entry["sha256"])
    product, version = PRODUCTS[runtime], str(load_library(runtime).__version__)
    require_recent(product, version)
    gpu = first_gpu()
    stored = find_engine(bundle, product, precision, version, gpu)
    return OpenSession(session(stored.engine, product, gpu), BUILT_HERE, stored.record["sha256"])
