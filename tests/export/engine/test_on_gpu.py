"""An engine on a GPU computes what ONNX Runtime computes."""

from pathlib import Path

import numpy as np
import pytest

from bench.sessions.tensorrt import TensorRTEngine
from export.common.errors import BadInput
from export.engine.build import build_engine
from export.engine.choice import choose_runtime
from export.engine.plan import RTX_TARGETS, TENSORRT_RTX, EnginePlan
from export.runtime.gpu import first_gpu
from tests.export.engine.gpu import has_gpu
from tests.export.engine.networks import network


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_computes_what_onnx_runtime_computes(tmp_path: Path, graph: bool) -> None:
    import onnxruntime

    gpu = first_gpu()
    choice = choose_runtime()
    if choice.backend is None or (choice.backend == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS):
        pytest.skip(f"no engine can be built for {gpu.name}: {choice.reason}")
    backend = choice.backend
    source, path = tmp_path / "tiny.onnx", tmp_path / f"tiny{backend.suffix}"
    source.write_bytes(network())
    build_engine(source, path, EnginePlan(targets=(gpu.compute_capability,) if backend.takes_targets else None))
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    engine = TensorRTEngine(path, backend, graph=graph)
    for count in (1, 8, 3, 3, 3):
        given = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        np.testing.assert_allclose(engine.run(given), session.run(None, {"image": given})[0], atol=1e-4)
    with pytest.raises(BadInput, match="a batch of 9"):
        engine.run(np.zeros((9, 3, 32, 32), np.float32))
    engine.close()
