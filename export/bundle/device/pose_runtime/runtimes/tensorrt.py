"""TensorRT 10 and 11."""

from pose_runtime.engines import TENSORRT
from pose_runtime.runtimes.engine import EngineNetwork


class TensorRT(EngineNetwork):
    """An engine of TensorRT, which was built on this device."""

    runtime, product = "tensorrt", TENSORRT
