"""TensorRT-RTX."""

from typing import Any

from pose_runtime.engines import TENSORRT_RTX
from pose_runtime.runtimes.engine import EngineNetwork


class TensorRTRTX(EngineNetwork):
    """An engine of TensorRT-RTX, which the bundle brings for the GPUs that its manifest names."""

    runtime, product = "tensorrt_rtx", TENSORRT_RTX

    def _new_context(self, trt: Any) -> Any:
        config = self._engine.create_runtime_config()
        # By default other shapes run fallback kernels until better ones are compiled: no result to compare with.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return self._engine.create_execution_context(config)
