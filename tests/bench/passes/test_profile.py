"""Profiles: real ones of a tiny network, their records, and failures that leave timed rows as they are."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.harness.assemble import add_profile
from bench.harness.measure import measure_workloads
from bench.harness.measurements import WorkloadRecord
from bench.harness.passes import PROFILE_RUNS
from bench.harness.passes import profile as profile_pass
from bench.harness.timed_model import TimedModel
from bench.harness.worker_process import WorkerProcess
from bench.harness.workload import Workload
from bench.passes.layer_times import Profile, take_profile
from bench.results.profile_record import ProfileRecord, profile_record
from bench.sessions.onnx_profile import origin, read_events
from bench.sessions.onnx_runtime import OnnxRuntime
from bench.sessions.openvino import OpenVino, averages_ms, recorded_means
from bench.sessions.parts import FINAL, OTHER, PARTS
from bench.sessions.protocol import LayerTime, Session
from bench.sessions.pytorch import PyTorchReference, TorchChannelsLast, TorchCompiled
from bench.sessions.pytorch_cuda import TorchCuda
from export.common.errors import NotPossible
from export.model.weights_file import save_weights
from tests.support.bench_quick import QUICK, check_parity, worker_processes
from tests.support.bench_results import STEADY, measurements, row
from tests.support.bench_sessions import IMAGES, Sleeper, Telling, write_inputs
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import drawn_images
from tests.support.host_cuda import HostTorch, note_driver

CONVOLUTION = re.compile(r"[\w.]+/Conv(/WithoutBiases)?")


# ── real profiles ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "tiny.safetensors"
    save_weights(path, alive_weights(), TINY)
    return path


def profiled(session: Session, folder: Path, runs: int = 20) -> Profile:
    """By the worker's own code, in this process."""
    np.save(folder / "inputs.npy", drawn_images(2, 256, 1))
    profile = TimedModel(Workload("A", lambda: session), folder / "inputs.npy").profile(3, runs)
    assert len(profile.calls_ms) == runs
    return profile


def recorded(profile: Profile, unprofiled_p50_ms: float = 2.0) -> ProfileRecord:
    released = profile.source == "a clock around each module"
    graph = TINY.layers() if released else TINY.deployed_layers()
    return profile_record(profile, graph, unprofiled_p50_ms)


@pytest.mark.parametrize(
    "runtime", ["onnxruntime fp32", "onnxruntime fp16", "openvino fp32", "openvino fp16", "pytorch", "channels last"]
)
def test_real_layers_are_attributed(runtime: str, typed_files: dict[str, Path], weights: Path, tmp_path: Path) -> None:
    name, _, precision = runtime.partition(" ")
    session: Session
    if name in ("onnxruntime", "openvino"):
        form = OnnxRuntime if name == "onnxruntime" else OpenVino
        session = form(typed_files[precision], precision, 1)
    else:
        session = (PyTorchReference if name == "pytorch" else TorchChannelsLast)(weights, 1)
    made = recorded(profiled(session, tmp_path))
    times = {part.part: part.ms for part in made.parts}
    assert list(times) == list(PARTS)
    assert all(ms >= 0 for ms in times.values())
    assert {layer.part for layer in made.layers} >= {*PARTS} - {OTHER}
    assert sum(times.values()) == pytest.approx(made.layers_ms)
    assert sum(part.time_share for part in made.parts) == pytest.approx(1)
    assert sum(part.macs_share for part in made.parts) == pytest.approx(1)
    assert made.attributed == pytest.approx(1 - times[OTHER] / made.layers_ms)
    # Times are those of one run; rounding to whole microseconds adds up to little.
    assert 0 < made.layers_ms <= made.call_mean_ms + 0.2
    assert made.runs == 20
    lost = [layer.name for layer in made.layers if layer.part == OTHER]
    assert len(lost) <= 0.15 * len(made.layers), lost
    convolutions = [layer for layer in made.layers if CONVOLUTION.fullmatch(layer.origin or layer.name)]
    assert all(layer.part != OTHER for layer in convolutions)


def test_every_run_has_the_same_layers_each_once(typed_files: dict[str, Path], tmp_path: Path) -> None:
    profiles = [profiled(OnnxRuntime(typed_files["fp32"], "fp32", 1), tmp_path, runs) for runs in (1, 10)]
    names = [[layer.name for layer in profile.layers] for profile in profiles]
    assert len(names[0]) == len(names[1])  # some are numbered otherwise in each session
    assert all(len(set(of)) == len(of) for of in names)


def test_sessions_that_cannot_be_profiled(weights: Path) -> None:
    with pytest.raises(NotPossible, match=r"torch\.compile cannot be profiled"):
        take_profile(TorchCompiled(weights, 1), [], 0, 0)
    with pytest.raises(NotPossible, match="sleeper does not report"):
        take_profile(Sleeper(), [], 0, 0)


@pytest.mark.usefixtures("driver")
def test_the_gpu_is_waited_for_around_each_part(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    note_driver(monkeypatch, calls)
    profile = profiled(TorchCuda(weights, 1, torch_gpu=HostTorch()), tmp_path, runs=2)
    assert calls.count("cuStreamSynchronize") >= 2 * 2 * len(profile.layers)
    assert {layer.part for layer in recorded(profile).layers} >= {*PARTS} - {OTHER}


# ── what the runtimes write, read ────────────────────────────────────────────────────────────────────────────────────


def event(name: str, ts: int, dur: int = 0, cat: str = "Node") -> dict[str, Any]:
    return {"cat": cat, "name": name, "ts": ts, "dur": dur}


def test_events_of_the_runs_that_warmed_up_are_left_out() -> None:
    events = [event("session_initialization", 0, 9, "Session")]
    for start, dur in ((100, 999), (2000, 10), (3000, 30)):
        events += [
            event("conv2d_1_nchwc_kernel_time", start + 1, dur),
            event("conv2d_1_fence_before", start, 500),
        ]
        events += [event("decode/Softmax_kernel_time", start + 50, 4), event("model_run", start, dur + 60, "Session")]
    layers = read_events(events, 1, {"conv2d_1": "backbone.stages.0.0.dwconv/Conv"})
    assert layers == [
        LayerTime("conv2d_1_nchwc", 0.02, "backbone.stages.0.0.dwconv/Conv"),
        LayerTime("decode/Softmax", 0.004),
    ]


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("conv2d_nchwc", "conv2d"),
        ("InsertedPrecisionFreeCast_conv2d_2_nchwc", "conv2d_2"),
        ("InsertedPrecisionFreeCast_relu", "relu"),
        ("getitem_bn_nchwc", "getitem"),
        ("InsertedPrecisionFreeCast_mul_135_mul_nchwc", "mul_135"),
        ("upsample_bilinear2d_1_nchwc", "upsample_bilinear2d_1"),
        ("ReorderOutput_token_3", None),
        ("conv2d_99_nchwc", None),
    ],
)
def test_names_made_of_tensors(name: str, tensor: str | None) -> None:
    tensors = ("conv2d", "conv2d_2", "relu", "getitem", "mul_135", "upsample_bilinear2d", "upsample_bilinear2d_1")
    assert origin(name, {of: f"node of {of}" for of in tensors}) == (f"node of {tensor}" if tensor else "")


def test_counters_are_averages_of_all_runs() -> None:
    """Seen: OpenVINO's counters fall slowly after a slow first run."""

    def counter(name: str, microseconds: int, status: str = "EXECUTED") -> Any:
        seconds = SimpleNamespace(total_seconds=lambda: microseconds / 1e6)
        return SimpleNamespace(node_name=name, real_time=seconds, status=SimpleNamespace(name=status))

    before = averages_ms([counter("a", 1000), counter("relu", 0, "NOT_RUN"), counter("b", 1)])  # 10 runs
    after = averages_ms([counter("a", 400), counter("relu", 0, "NOT_RUN"), counter("b", 0)])  # 40 runs
    assert recorded_means(before, 10, after, 40) == {"a": pytest.approx((40 * 0.4 - 10 * 1.0) / 30), "b": 0.0}


# ── the record ───────────────────────────────────────────────────────────────────────────────────────────────────────


def planted(*layers: LayerTime) -> Profile:
    return Profile("planted", layers, (9.0, 10.0, 14.0))


def test_unknown_layers_are_other_with_a_remark() -> None:
    known, final = LayerTime("backbone.stages.0", 6.0), LayerTime("head.final_layer/Conv", 2.0)
    made = recorded(planted(known, LayerTime("a kernel of its own", 1.0), final), unprofiled_p50_ms=8.0)
    assert {part.part: part.ms for part in made.parts if part.ms} == {"stage 0": 6.0, FINAL: 2.0, OTHER: 1.0}
    assert made.attributed == pytest.approx(8 / 9)
    assert made.remark is None
    assert (made.call_p50_ms, made.call_mean_ms, made.slowdown) == (10, 11, 1.25)
    lost = recorded(planted(known, LayerTime("a kernel", 1.0), LayerTime("the kernel", 7.0), final))
    assert lost.attributed == 0.5
    assert lost.remark is None
    lost = recorded(planted(known, LayerTime("a kernel", 1.0), LayerTime("the kernel", 7.1), final))
    assert lost.remark is not None
    assert "could not be attributed" in lost.remark
    assert "above all the kernel" in lost.remark


def test_layers_without_any_time() -> None:
    made = recorded(planted(LayerTime("decode/Softmax", 0.0)))
    assert (made.layers_ms, made.attributed) == (0, 0)
    assert made.remark is not None


@pytest.mark.parametrize("runtime", ["onnxruntime", "pytorch"])
def test_macs_are_those_of_the_graph_that_ran(runtime: str) -> None:
    measured = measurements(STEADY, profile=planted(LayerTime("head.final_layer/Conv", 2.0)))
    timed = row(measured).model_copy(update={"runtime": runtime})
    made = add_profile(timed, measured, replace(TINY, upsamplings=3))
    assert made.profile is not None
    final = next(part for part in made.profile.parts if part.part == FINAL)
    assert final.macs == 16 * 18 * 32 * (64 if runtime == "pytorch" else 32) ** 2


# ── the pass ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (Telling, None),
        (partial(Telling, 0), "a sleeper's word reported no layer"),
        (Sleeper, "there is no profile: sleeper does not report the times of its layers"),
        (partial(Telling, 2, "crash"), "SIGABRT"),
        (partial(Telling, 2, "raise"), "RuntimeError: no kernel for this"),
    ],
)
def test_a_failing_profile_is_a_reason_only(session: Any, reason: str | None, tmp_path: Path) -> None:
    record, inputs = WorkloadRecord(), write_inputs(tmp_path)
    workload = Workload("A", session)
    profile_pass(workload, record, QUICK, lambda workload: WorkerProcess(workload, inputs, {}, tmp_path))
    assert worker_processes() == []
    if reason is None:
        assert record.profile is not None
        assert len(record.profile.calls_ms) == PROFILE_RUNS >= 20
    else:
        assert record.profile is None
        assert reason in str(record.profile_reason)


def test_a_reason_leaves_the_row_as_it_is() -> None:
    measured = measurements(STEADY, profile_reason="the worker was lost")
    timed = row(measured)
    lost = add_profile(timed, measured, TINY)
    assert (lost.profile, lost.profile_reason) == (None, "the worker was lost")
    assert lost.model_copy(update={"profile_reason": timed.profile_reason}) == timed
    assert timed.latency


def test_an_invalid_row_has_no_profile() -> None:
    measured = measurements(STEADY, faults=["parity fail: 7 mm"], profile=planted(LayerTime("decode", 1.0)))
    invalid = row(measured)
    assert add_profile(invalid, measured, TINY).profile is None
    assert "invalid" in str(add_profile(invalid, measured, TINY).profile_reason)
    measured.interrupted = True
    assert add_profile(invalid, measured, TINY).profile_reason == "interrupted"


def test_ctrl_c_keeps_earlier_profiles() -> None:
    def progress(text: str, share: float | None = None) -> None:
        if text == "profiling B":
            raise KeyboardInterrupt

    three = [Workload(name, Telling) for name in "ABC"]
    measured = measure_workloads(three, "A", IMAGES, check_parity, replace(QUICK, profile=True), progress=progress)
    assert measured.interrupted
    assert [name for name, record in measured.records.items() if record.profile] == ["A"]
    assert worker_processes() == []
