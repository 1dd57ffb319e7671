"""ONNX Runtime's GPU providers without a GPU: on the processor's memory, and where their libraries refuse."""

import mmap
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bench.sessions import onnx_runtime_gpu
from bench.sessions.gpu_boundaries import LARGEST_BATCH
from bench.sessions.onnx_runtime import OnnxRuntime
from bench.sessions.onnx_runtime_gpu import (
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
from export.common.errors import BadInput, NotPossible
from export.runtime.gpu import Driver
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY
from tests.support.drawings import drawn_images
from tests.support.engines import has_gpu, without_gpu
from tests.support.host_cuda import COPIES, note_driver

CPU = "CPUExecutionProvider"
CAPI = Path(onnxruntime.__file__).parent / "capi"
built_for_gpu = pytest.mark.skipif(not (CAPI / LIBRARIES[CUDA]).is_file(), reason="onnxruntime-gpu is not installed")


@pytest.fixture
def session(typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, driver: Driver) -> OnnxRuntimeGpu:
    """A session with the processor's provider, on the processor's memory."""
    monkeypatch.setitem(onnx_runtime_gpu.PROVIDERS, "onnxruntime-cuda", CPU)
    monkeypatch.setattr(onnx_runtime_gpu, "DEVICE", "cpu")
    return OnnxRuntimeGpu(typed_files["fp32"], "fp32", "onnxruntime-cuda", 1)


def images(count: int, seed: int = 1) -> Any:
    return normalise(drawn_images(count, TINY.input_size, seed))


def test_joints_are_those_of_an_unbound_session(session: OnnxRuntimeGpu, typed_files: dict[str, Path]) -> None:
    plain = OnnxRuntime(typed_files["fp32"], "fp32", 1)
    first = session.run(images(2))
    copy = first.copy()
    for batch in (images(2, 7), images(1), images(2, 9)):  # each change of size binds the memory again
        np.testing.assert_array_equal(session.run(batch), plain.run(batch))
    np.testing.assert_array_equal(first, copy)  # later runs have not changed it


def test_batches_that_the_memory_does_not_hold_are_refused(session: OnnxRuntimeGpu) -> None:
    for batch in (images(1).repeat(LARGEST_BATCH + 1, axis=0), images(1)[:, :, 1:], images(1).astype(np.float64)):
        with pytest.raises(BadInput, match=f"give 1 to {LARGEST_BATCH} images"):
            session.run(batch)
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(images(1))


def test_boundaries(session: OnnxRuntimeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol in (Accountable, Bindable, Limited, Pinning, SelfTiming):
        assert isinstance(session, protocol)
    calls: list[str] = []
    note_driver(monkeypatch, calls)
    pinned = session.pinned(images(1))
    up, down = COPIES
    session.run(pinned)
    assert calls == ["cuMemAllocHost_v2", up, "cuEventRecord", "cuEventRecord", down, "cuStreamSynchronize"]
    assert session.device_ms() == 2.5
    run = session.bind(pinned)
    calls.clear()
    run()
    assert calls == ["cuStreamSynchronize"]
    assert np.isfinite(session._open_exchange().take(1)).all()


def test_facts_of_a_session_that_does_what_was_asked(session: OnnxRuntimeGpu) -> None:
    facts = session.facts()
    assert facts["problems"] == []
    assert (facts["device"], facts["precision_used"], facts["options"]["cuda_graph"]) == ("Orin (8.7)", "fp32", False)
    assert f"{CPU} " in facts["proof"]


def test_a_session_that_fell_back_is_a_problem(session: OnnxRuntimeGpu) -> None:
    """ONNX Runtime falls back silently when a provider's libraries are missing."""
    session._provider = TENSORRT
    problems = "\n".join(session.facts()["problems"])
    assert f"the session's providers are ['{CPU}']" in problems
    assert f"nodes run on {CPU}: " in problems
    assert "Conv" in problems
    assert TF32_VARIABLE in problems


def test_another_precision_than_requested_is_a_problem(session: OnnxRuntimeGpu) -> None:
    session.precision = "int8"
    (problem,) = session.facts()["problems"]
    assert problem.startswith("not run in int8: ")


def part(provider: str, *kinds: str) -> Any:
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=kind) for kind in kinds])


@pytest.mark.parametrize(
    ("parts", "problems"),
    [
        ([part(CUDA, "Conv", "Conv"), part(CPU, "Resize"), part(CUDA, "Add"), part(CPU, "Resize")], ["2 of 5 nodes"]),
        ([part(CUDA, "Conv", "Conv")], []),
        ([], ["ONNX Runtime does not report"]),
    ],
)
def test_nodes_elsewhere_are_counted(parts: list[Any], problems: list[str]) -> None:
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    found = fallen_back(session, CUDA)
    assert len(found) == len(problems)
    assert all(text.startswith(problem) for text, problem in zip(found, problems, strict=True))


def test_placement_of_a_real_session(typed_files: dict[str, Path]) -> None:
    session = provider_session(typed_files["fp32"], CPU, {}, 1)
    assert placement(session)[CPU]["Conv"] > 10
    assert fallen_back(session, CPU) == []
    (problem,) = fallen_back(session, CUDA)
    assert problem.endswith(", ".join(sorted(placement(session)[CPU])))


@built_for_gpu
@without_gpu
@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_a_provider_without_its_libraries_names_the_missing_one(
    typed_files: dict[str, Path], provider: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real library, which is compiled in and listed as available, and cannot be loaded."""
    assert provider in onnxruntime.get_available_providers()
    options = provider_options(provider, 0, "fp32", (3, 256, 256))
    with pytest.raises(NotPossible, match=r"does not run this file — lib\w+\.so\.\d+: cannot open") as caught:
        provider_session(typed_files["fp32"], provider, options, 1)
    assert caught.value.exit_code == 4
    assert capfd.readouterr() == ("", "")
    assert why_not_loaded(CPU) is None


@built_for_gpu
def test_the_libraries_know_every_option() -> None:
    """Unknown options are refused on a GPU only, so their names are looked up in the libraries."""
    for provider, library in LIBRARIES.items():
        options = {name for p in ("fp16", "bf16", "int8") for name in provider_options(provider, 0, p, (3, 2, 2))}
        for name in options - {"user_compute_stream"}:
            assert contains(CAPI / library, name), name
        assert not contains(CAPI / library, "planted_option")
    (core,) = CAPI.glob("onnxruntime_pybind11_state*")
    for name in (RECORD_ASSIGNMENT, LEAVE_ASYNCHRONOUS[0]):
        assert contains(core, name), name


def contains(path: Path, text: str) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


def test_provider_options() -> None:
    assert provider_options(CUDA, 5, "fp16", (3, 4, 4)) == {"user_compute_stream": "5", "use_tf32": "0"}
    options = provider_options(TENSORRT, 5, "fp16", (3, 4, 4))
    assert (options["trt_profile_min_shapes"], options["trt_profile_max_shapes"]) == ("image:1x3x4x4", "image:8x3x4x4")
    assert options["trt_fp16_enable"] == "1"
    assert "trt_int8_enable" not in options
    assert not any(name.endswith("_enable") for name in provider_options(TENSORRT, 5, "fp32", (3, 4, 4)))


def test_tf32_that_is_not_off_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf32_problems(CUDA, {"use_tf32": "0"}) == []
    assert tf32_problems(CUDA, {"use_tf32": "1"}) == tf32_problems(CUDA, {}) != []
    monkeypatch.setitem(os.environ, TF32_VARIABLE, "0")
    assert tf32_problems(TENSORRT, {}) == []
    monkeypatch.delitem(os.environ, TF32_VARIABLE)
    assert tf32_problems(TENSORRT, {}) != []


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_gpu_computes_what_the_processor_computes(
    typed_files: dict[str, Path], runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.sessions.gpu_runtimes import no_gpu_runtime

    if reason := no_gpu_runtime(runtime):
        pytest.skip(reason)
    monkeypatch.setitem(os.environ, TF32_VARIABLE, "0")
    session, plain = OnnxRuntimeGpu(typed_files["fp32"], "fp32", runtime), OnnxRuntime(typed_files["fp32"], "fp32", 1)
    for count in (1, 3):
        np.testing.assert_allclose(session.run(session.pinned(images(count))), plain.run(images(count)), atol=2e-3)
        assert session.device_ms() > 0
    session.bind(images(1))()
    assert session.facts()["problems"] == []
