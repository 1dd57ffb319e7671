"""GPU backends as far as they go without a GPU: on the processor's memory, and where their libraries refuse."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from bench.harness.job import Job
from bench.harness.timed_model import TimedModel
from bench.sessions import onnx_runtime_gpu as gpu_backend
from bench.sessions.exchange import Exchange
from bench.sessions.onnx_runtime import OnnxRuntime
from bench.sessions.onnx_runtime_gpu import (
    CPU,
    CUDA,
    LEAVE_ASYNCHRONOUS,
    LIBRARIES,
    RECORD_ASSIGNMENT,
    TENSORRT,
    TF32_VARIABLE,
    OnnxRuntimeGpu,
    fallen_back,
    placement,
    provider_options,
    provider_session,
    tf32_problems,
    why_not_loaded,
)
from bench.sessions.protocol import Accountable, Bindable, Limited, Pinning, SelfTiming
from bench.sessions.pytorch import PyTorchReference
from bench.sessions.pytorch_cuda import TorchCuda
from bench.sessions.pytorch_cuda_graph import TorchCudaGraph
from export.common.errors import NotPossible
from export.images.drawings import drawn_images
from export.model.pose import normalise
from export.model.weights_file import save_weights
from tests.export.engine.gpu import has_gpu, without_gpu
from tests.support.bench_subjects import Sleeper, write_inputs
from tests.support.checkpoints import TINY, alive_weights
from tests.support.host_cuda import Host

CAPI = Path(onnxruntime.__file__).parent / "capi"
built_for_gpu = pytest.mark.skipif(not (CAPI / LIBRARIES[CUDA]).is_file(), reason="onnxruntime-gpu is not installed")


@pytest.fixture
def on_host(typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[OnnxRuntimeGpu, Host]:
    """The backend with a real session, whose provider is the processor's and whose memory the host's."""
    monkeypatch.setitem(gpu_backend.PROVIDERS, "onnxruntime-cuda", CPU)
    host = Host()
    return OnnxRuntimeGpu(typed_files["fp32"], "fp32", "onnxruntime-cuda", 1, cuda=host), host


def images(count: int, seed: int = 1) -> Any:
    return normalise(drawn_images(count, TINY.input_size, seed))


def test_joints_come_back_as_from_an_unbound_session(
    on_host: tuple[OnnxRuntimeGpu, Host], typed_files: dict[str, Path]
) -> None:
    backend, plain = on_host[0], OnnxRuntime(typed_files["fp32"], "fp32", 1)
    first = backend.run(images(2))
    kept = first.copy()
    for given in (images(2, 7), images(1), images(2, 9)):  # sizes change, memory is bound anew
        np.testing.assert_array_equal(backend.run(given), plain.run(given))
    np.testing.assert_array_equal(first, kept)  # later runs have not changed it


def test_what_is_bound_runs_without_copies(on_host: tuple[OnnxRuntimeGpu, Host]) -> None:
    backend, host = on_host
    seen = backend.run(images(1))
    run = backend.bind(images(1))
    host.calls.clear()
    run()
    assert host.calls == ["wait"]
    assert backend._exchange.output is not None
    np.testing.assert_array_equal(backend._exchange.output.numpy(), seen)


def test_the_boundaries_of_the_protocol(on_host: tuple[OnnxRuntimeGpu, Host]) -> None:
    backend, host = on_host
    for protocol in (Accountable, Bindable, Limited, Pinning, SelfTiming):
        assert isinstance(backend, protocol)
    pinned = backend.pinned(images(1))
    assert "pinned" in host.calls
    host.calls.clear()
    backend.run(pinned)
    assert host.calls == ["begin", "end", "pinned", "wait"]  # the second: joints, the first time
    assert backend.device_ms() == 2.5


def test_facts_of_a_session_that_does_what_was_asked(on_host: tuple[OnnxRuntimeGpu, Host]) -> None:
    facts = on_host[0].facts()
    assert facts["problems"] == []
    assert (facts["precision_used"], facts["options"]["cuda_graph"]) == ("fp32", False)
    assert f"{CPU} " in facts["proof"]


def test_a_session_that_fell_back_is_a_problem(on_host: tuple[OnnxRuntimeGpu, Host]) -> None:
    """What ONNX Runtime does when a provider's libraries are missing, had it not been noticed at the start."""
    backend = on_host[0]
    backend._provider = TENSORRT
    problems = "\n".join(backend.facts()["problems"])
    assert f"the session's providers are ['{CPU}']" in problems
    assert f"nodes run on {CPU}: " in problems
    assert "Conv" in problems
    assert TF32_VARIABLE in problems


def test_nodes_elsewhere_are_counted_and_named() -> None:
    class Node:
        def __init__(self, op_type: str) -> None:
            self.op_type = op_type

    class Part:
        def __init__(self, ep_name: str, *kinds: str) -> None:
            self.ep_name, self.kinds = ep_name, kinds

        def get_nodes(self) -> list[Node]:
            return [Node(kind) for kind in self.kinds]

    class Session:
        parts: tuple[Part, ...] = (
            Part(CUDA, "Conv", "Conv"),
            Part(CPU, "Resize"),
            Part(CUDA, "Add"),
            Part(CPU, "Resize"),
        )

        def get_provider_graph_assignment_info(self) -> tuple[Part, ...]:
            return self.parts

    session = Session()
    assert fallen_back(session, CUDA) == [f"2 of 5 nodes run on {CPU}: Resize"]
    session.parts = session.parts[:1]
    assert fallen_back(session, CUDA) == []
    session.parts = ()
    assert fallen_back(session, CUDA) == ["ONNX Runtime does not say where its nodes run"]


def test_where_nodes_run_is_really_told(typed_files: dict[str, Path]) -> None:
    session = provider_session(typed_files["fp32"], CPU, {}, 1)
    assert placement(session)[CPU]["Conv"] > 10
    assert fallen_back(session, CPU) == []
    (problem,) = fallen_back(session, CUDA)
    assert problem.endswith(", ".join(sorted(placement(session)[CPU])))


def test_another_precision_than_asked_is_a_problem(on_host: tuple[OnnxRuntimeGpu, Host]) -> None:
    backend = on_host[0]
    backend.precision = "int8"
    (problem,) = backend.facts()["problems"]
    assert problem.startswith("not run in int8: ")


@built_for_gpu
@without_gpu
@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_a_provider_without_its_libraries_says_what_it_lacks(typed_files: dict[str, Path], provider: str) -> None:
    """The real library, which is compiled in and listed as available, and cannot be loaded."""
    assert provider in onnxruntime.get_available_providers()
    options = provider_options(provider, 0, "fp32", (3, 256, 256))
    with pytest.raises(NotPossible, match=r"does not run this file — lib\w+\.so\.\d+: cannot open") as caught:
        provider_session(typed_files["fp32"], provider, options, 1)
    assert caught.value.exit_code == 4
    assert why_not_loaded(CPU) is None


@built_for_gpu
@without_gpu
def test_missing_libraries_are_not_written_to_the_terminal(
    typed_files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotPossible):
        provider_session(typed_files["fp32"], CUDA, provider_options(CUDA, 0, "fp32", ()), 1)
    assert capfd.readouterr() == ("", "")


@built_for_gpu
def test_the_libraries_know_every_option_that_they_are_given() -> None:
    """Unknown options are refused on a GPU only, so their names are looked up in the libraries."""
    for provider, library in LIBRARIES.items():
        options = {name for p in ("fp16", "bf16", "int8") for name in provider_options(provider, 0, p, (3, 2, 2))}
        assert "planted_option" not in options
        for name in options - {"user_compute_stream"}:
            assert contains(CAPI / library, name), name
        assert not contains(CAPI / library, "planted_option")
    (core,) = CAPI.glob("onnxruntime_pybind11_state*")
    for name in (RECORD_ASSIGNMENT, LEAVE_ASYNCHRONOUS[0]):
        assert contains(core, name), name


def contains(path: Path, text: str) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


def test_what_providers_are_told() -> None:
    assert provider_options(CUDA, 5, "fp16", (3, 4, 4)) == {"user_compute_stream": "5", "use_tf32": "0"}
    told = provider_options(TENSORRT, 5, "fp16", (3, 4, 4))
    assert (told["trt_profile_min_shapes"], told["trt_profile_max_shapes"]) == ("image:1x3x4x4", "image:8x3x4x4")
    assert told["trt_fp16_enable"] == "1"
    assert "trt_int8_enable" not in told
    assert not any(name.endswith("_enable") for name in provider_options(TENSORRT, 5, "fp32", (3, 4, 4)))


def test_tf32_that_is_not_off_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf32_problems(CUDA, {"use_tf32": "0"}) == []
    assert tf32_problems(CUDA, {"use_tf32": "1"}) == tf32_problems(CUDA, {}) != []
    monkeypatch.setitem(os.environ, TF32_VARIABLE, "0")
    assert tf32_problems(TENSORRT, {}) == []
    monkeypatch.delitem(os.environ, TF32_VARIABLE)
    assert tf32_problems(TENSORRT, {}) != []


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(tmp_path / "tiny.safetensors", alive_weights(), TINY)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def tf32() -> Iterator[None]:
    """On at the beginning, and afterwards as it was."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, was in zip(places, before, strict=True):
        place.allow_tf32 = was


@pytest.mark.usefixtures("tf32")
def test_pytorch_on_the_device_sees_what_the_reference_sees(weights: Path) -> None:
    backend, plain = TorchCuda(weights, 1, cuda=Host()), PyTorchReference(weights, 1)
    for given in (images(1), images(2)):
        np.testing.assert_allclose(backend.run(given), plain.run(given), atol=1e-4)
    assert backend.device_ms() == 2.5
    backend.bind(images(1))()
    (problem,) = backend.facts()["problems"]
    assert problem == "parameters lie on cpu, not on the GPU"
    assert backend.facts()["options"]["tf32"] == {"matmul": False, "cudnn": False}
    torch.backends.cudnn.allow_tf32 = True
    assert "TF32 is on" in backend.facts()["problems"]


@pytest.mark.usefixtures("tf32")
def test_a_recorded_graph_sees_what_the_reference_sees_in_every_shape(weights: Path) -> None:
    host = Host()
    backend, plain = TorchCudaGraph(weights, 1, cuda=host), PyTorchReference(weights, 1)
    for given in (images(1), images(1, 5), images(2), images(1, 7)):
        np.testing.assert_allclose(backend.run(given), plain.run(given), atol=1e-4)
    assert [call for call in host.calls if call in ("capture", "replay")] == [
        *("capture", "replay", "replay"),
        *("capture", "replay"),
        *("capture", "replay"),
    ]
    host.calls.clear()
    backend.bind(images(1))()
    assert host.calls == ["wait", "replay", "wait"]
    assert backend.facts()["options"]["cuda_graph"] is True
    assert TorchCuda(weights, 1, cuda=host).facts()["options"]["cuda_graph"] is False
    with pytest.raises(NotPossible, match="tells no time by module"):
        backend.profiler()


def test_a_graph_that_writes_nothing_gives_no_old_joints(weights: Path) -> None:
    backend = TorchCudaGraph(weights, 1, cuda=Host())
    assert np.isfinite(backend.run(images(1))).all()
    backend._replay = lambda: None
    assert np.isnan(backend.run(images(1))).all()


@without_gpu
def test_pytorch_without_a_gpu(weights: Path) -> None:
    with pytest.raises(NotPossible, match="torch reaches no GPU"):
        TorchCuda(weights)


# ── the way there and back, and the worker ───────────────────────────────────────────────────────────────────────────


def test_what_is_not_written_stays_visible() -> None:
    exchange = Exchange(Host(), (4, 3, 2, 2), (4, 2, 3))

    def launch() -> None:
        assert exchange.output is not None
        exchange.output[:1] = 1.0

    given = np.zeros((2, 3, 2, 2), np.float32)
    assert exchange.run(given, launch).shape == (2, 2, 3)
    assert np.isnan(exchange.run(given, launch)[1]).all()


def test_a_gpus_worker_warms_up_longer_and_by_the_gpus_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.stats.steadiness import WarmUpRule

    asked: list[float] = []

    def sm_clock_mhz() -> float:
        asked.append(2520.0)
        return asked[-1]

    monkeypatch.setattr("bench.harness.timed_model.GPU_WARM_UP_S", 0.2)
    monkeypatch.setattr("bench.harness.timed_model.GPU_UNRECORDED_S", 0.15)
    monkeypatch.setattr("bench.machine.gpu_sensors.sm_clock_mhz", sm_clock_mhz)
    rule = WarmUpRule(minimum_s=0.01, cap_s=0.3, window_s=0.02, spread=10, clock_spread=1)
    for gpu in (False, True):
        subject = TimedModel(Job(Sleeper, write_inputs(tmp_path), gpu=gpu))
        subject.load()
        assert subject.warm_up(rule).seconds >= 0.2 * gpu
        assert bool(asked) == gpu
        runs = subject._backend.runs  # type: ignore[attr-defined]
        subject.visit(5)
        assert subject._backend.runs - runs > 5  # type: ignore[attr-defined]


class Pinned(Sleeper):
    """Wants its images where it says."""

    def pinned(self, given: Any) -> Any:
        return given.copy() + 1


def test_images_are_laid_where_the_device_fetches_them(tmp_path: Path) -> None:
    subject = TimedModel(Job(Pinned, write_inputs(tmp_path)))
    subject.load()
    assert (subject._inputs[0] == np.load(write_inputs(tmp_path))[:1] + 1).all()


# ── on a GPU ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "onnxruntime-tensorrt", "pytorch-cuda", "pytorch-cuda-graph"])
def test_a_gpu_backend_computes_what_the_processor_computes(
    typed_files: dict[str, Path], weights: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.sessions.gpu_runtimes import no_gpu_runtime

    if reason := no_gpu_runtime(runtime):
        pytest.skip(reason)
    monkeypatch.setitem(os.environ, TF32_VARIABLE, "0")
    forms = {"pytorch-cuda": TorchCuda, "pytorch-cuda-graph": TorchCudaGraph}
    backend: Any = forms[runtime](weights) if runtime in forms else None
    backend = backend or OnnxRuntimeGpu(typed_files["fp32"], "fp32", runtime)
    plain = OnnxRuntime(typed_files["fp32"], "fp32", 1)
    for count in (1, 3):
        given = images(count)
        np.testing.assert_allclose(backend.run(backend.pinned(given)), plain.run(given), atol=2e-3)
        assert backend.device_ms() > 0
    backend.bind(images(1))()
    assert backend.facts()["problems"] == []
