"""PyTorch on a GPU without one: on the processor's memory, with the fake driver."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.sessions.pytorch import PyTorchReference
from bench.sessions.pytorch_cuda import TorchCuda, TorchCudaGraph
from export.common.errors import NotPossible
from export.model.weights_file import save_weights
from export.runtime.gpu import Driver
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import drawn_images
from tests.support.engines import has_gpu, without_gpu
from tests.support.host_cuda import HostTorch


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(tmp_path / "tiny.safetensors", alive_weights(), TINY)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def tf32() -> Iterator[None]:
    """TF32 is on at the beginning, and afterwards as before."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, was in zip(places, before, strict=True):
        place.allow_tf32 = was


def images(count: int, seed: int = 1) -> Any:
    return normalise(drawn_images(count, TINY.input_size, seed))


@pytest.mark.usefixtures("tf32", "driver")
def test_eager_pytorch_computes_what_the_reference_computes(weights: Path) -> None:
    session, plain = TorchCuda(weights, 1, torch_gpu=HostTorch()), PyTorchReference(weights, 1)
    for batch in (images(1), images(2)):
        np.testing.assert_allclose(session.run(session.pinned(batch)), plain.run(batch), atol=1e-4)
    assert session.device_ms() == 2.5
    session.bind(images(1))()
    facts = session.facts()
    assert facts["problems"] == ["parameters are on cpu, not on the GPU"]
    assert (facts["device"], facts["options"]["cuda_graph"]) == ("Orin (8.7)", False)
    assert facts["options"]["tf32"] == {"matmul": False, "cudnn": False}
    torch.backends.cudnn.allow_tf32 = True
    assert "TF32 is on" in session.facts()["problems"]
    session.close()


@pytest.mark.usefixtures("tf32", "driver")
def test_a_graph_is_recorded_for_each_batch_size(weights: Path) -> None:
    host = HostTorch()
    session, plain = TorchCudaGraph(weights, 1, torch_gpu=host), PyTorchReference(weights, 1)
    for batch in (images(1), images(1, 5), images(2), images(1, 7)):
        np.testing.assert_allclose(session.run(batch), plain.run(batch), atol=1e-4)
    assert host.calls == ["capture", "replay", "replay", "capture", "replay", "capture", "replay"]
    host.calls.clear()
    session.bind(images(1))()
    assert host.calls == ["replay"]
    assert session.facts()["options"]["cuda_graph"] is True
    with pytest.raises(NotPossible, match="cannot be profiled by module"):
        session.profiler()


@pytest.mark.usefixtures("driver")
def test_a_graph_that_writes_nothing_gives_no_old_joints(weights: Path) -> None:
    session = TorchCudaGraph(weights, 1, torch_gpu=HostTorch())
    assert np.isfinite(session.run(images(1))).all()
    session._replay = lambda: None
    assert np.isnan(session.run(images(1))).all()


@without_gpu
def test_no_gpu(weights: Path) -> None:
    with pytest.raises(NotPossible, match="needs an NVIDIA GPU"):
        TorchCuda(weights)


@without_gpu
def test_torch_that_does_not_reach_the_gpu(weights: Path, driver: Driver) -> None:
    with pytest.raises(NotPossible, match="torch reaches no GPU"):
        TorchCuda(weights)


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("form", [TorchCuda, TorchCudaGraph])
def test_a_gpu_computes_what_the_processor_computes(weights: Path, form: type[TorchCuda]) -> None:
    from bench.sessions.gpu_runtimes import no_gpu_runtime

    if reason := no_gpu_runtime(form.runtime):
        pytest.skip(reason)
    session, plain = form(weights), PyTorchReference(weights, 1)
    for count in (1, 3):
        np.testing.assert_allclose(session.run(session.pinned(images(count))), plain.run(images(count)), atol=2e-3)
        assert session.device_ms() > 0
    session.bind(images(1))()
    assert session.facts()["problems"] == []
