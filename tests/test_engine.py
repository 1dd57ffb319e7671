"""Engines are really built here, by TensorRT-RTX without a GPU; TensorRT itself cannot run in these tests."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export import engine, engine_plan, engine_runtime
from export import gpu as nvidia
from export.artifacts import PARTIAL_PREFIX, sha256_file
from export.engine import EngineRecord, build_engine, check_plan_file, read_record, require_planned
from export.engine_layers import EngineLayers
from export.engine_network import Convolutions
from export.engine_plan import BACKENDS, DEFAULT_RTX_TARGETS, TENSORRT, TENSORRT_RTX, EnginePlan
from export.engine_runtime import Choice, choose_runtime, library_version
from export.engine_worker import Phases
from export.errors import BadInput, CheckFailed, Failure, NotPossible
from export.gpu import Gpu, Jetson
from tests.small_networks import BFLOAT, FLOAT, HALF, cast, half_network
from tests.stub_driver import stub_driver


def network(*nodes: Any, batch: int | str = "batch", name: str = "image", kind: int = FLOAT, out: int = FLOAT) -> bytes:
    """A convolution (channels 3 to 8, 32×32) and what follows it, as an ONNX file's bytes."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(kind))
    conv = helper.make_node("Conv", [name, "weight"], ["features"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [conv, *(nodes or [helper.make_node("Relu", ["features"], ["joints"], "relu")])],
        "tiny",
        [helper.make_tensor_value_info(name, kind, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("joints", out, [batch, 8, 32, 32])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


HALF_INSIDE = (cast("features", "half", TensorProto.FLOAT16), cast("half", "joints", FLOAT))


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob(PARTIAL_PREFIX + "*"))


def plant(code: str) -> tuple[str, ...]:
    """A worker with a defect: ``code`` runs before its ``main``, with the worker's module as ``w``."""
    head = "import os, sys, time, types\nfrom export import engine, engine_plan, engine_worker as w\n"
    return (sys.executable, "-c", head + textwrap.dedent(code) + "\nw.main()")


def setting(line: str) -> str:
    """Code to plant: one more setting of the builder, after ours."""
    body = f"config = inner(trt, builder, plan); {line}; return config"
    return f"inner = w.configure\ndef configure(trt, builder, plan): {body}\nw.configure = configure"


STALLING = plant(
    """
    def stalling(send):
        def tell(message):
            send(message)
            if message.get("share", 0) > 0.3:
                time.sleep(60)
        return tell
    inner = w.make_monitor
    w.make_monitor = lambda trt, send: inner(trt, stalling(send))
    """
)
"""Stops within the builder's own call, at a third of the work."""


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX even where TensorRT is installed as well."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(network())
    return path


@pytest.fixture
def no_partial_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not partials(tmp_path)


# ── what is built ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_an_engine_its_log_and_its_record(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # the worker is found from any folder
    heard: list[tuple[str, float | None]] = []
    path = tmp_path / "new" / "tiny.rtx.engine"
    record = build_engine(tiny, path, EnginePlan(), lambda text, share=None: heard.append((text, share)))

    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".json", path.name + ".log"]
    assert record.status == "built for SM 8.0, 8.6, 8.9, 12.0; not run"
    assert (record.runtime, record.precision, record.gpu) == ("tensorrt_rtx", "fp32", None)
    assert record.chosen == "tensorrt is not installed; tensorrt_rtx is installed"
    assert record.convolutions == Convolutions(1, 0)
    if nvidia.default_gpu()[0] is None:
        assert record.not_run
        assert record.not_inspected == f"no GPU loads it here: {record.not_run}"
    assert record.targets == DEFAULT_RTX_TARGETS
    assert record.profile == engine.Profile("image", (1, 3, 32, 32), (1, 3, 32, 32), (8, 3, 32, 32))
    assert record.size_bytes == path.stat().st_size
    assert record.plan_magic.encode() == path.read_bytes()[:4]
    assert record.package_version.startswith(".".join(record.plan_version.split(".")[:3]))
    assert record.onnx_sha256 == sha256_file(tiny)
    assert (record.engine_sha256, record.engine_reproducible) == (sha256_file(path), False)
    assert record.weight_bytes == (8 * 3 * 3 * 3) * 4 + 256  # the library rounds up; FP32 weights nevertheless
    assert record.scratch_bytes is not None
    assert record.activation_bytes is not None
    assert 0 < record.build_seconds < 60
    assert "INFO Engine generation completed" in (tmp_path / "new" / "tiny.rtx.engine.log").read_text()
    assert read_record(tmp_path / "new" / "tiny.rtx.engine.json") == record

    shares = [share for _, share in heard if share is not None]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert len(shares) > 5


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_recorded_as_the_builder_has_it(tiny: Path, tmp_path: Path, tf32: bool) -> None:
    record = build_engine(tiny, tmp_path / "e", EnginePlan(tf32=tf32, targets=("12.0",), batch_opt=4))
    assert record.tf32 is tf32
    assert record.status == "built for SM 12.0; not run"
    assert record.profile.opt == (4, 3, 32, 32)


@pytest.mark.usefixtures("rtx")
def test_a_fixed_batch(tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    path.write_bytes(network(batch=2))
    record = build_engine(path, tmp_path / "e", EnginePlan(batch_min=2, batch_opt=2, batch_max=2))
    assert record.profile.min == record.profile.max == (2, 3, 32, 32)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(("precision", "kind"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("bf16", "BF16")])
def test_the_network_that_is_built_has_the_precision_s_types(
    typed_files: dict[str, Path], tmp_path: Path, precision: str, kind: str
) -> None:
    record = build_engine(typed_files[precision], tmp_path / "e", EnginePlan(precision=precision))
    assert record.status == "built for SM 8.0, 8.6, 8.9, 12.0; not run"
    assert record.precision == precision
    assert record.layer_types["CONVOLUTION"] == {kind: 26}
    assert record.layer_types["SOFTMAX"] == {"FLOAT": 1}
    assert record.layer_types["REDUCE"] == {"FLOAT": 7}
    assert record.layer_types.get("CAST", {}).get(kind, 0) == (precision != "fp32")


@pytest.mark.usefixtures("rtx")
def test_turing_has_fp16_but_no_bf16(tmp_path: Path) -> None:
    path, turing = tmp_path / "half.onnx", ("7.5",)
    path.write_bytes(half_network())
    assert build_engine(path, tmp_path / "e", EnginePlan(precision="fp16", targets=turing)).targets == turing
    with pytest.raises(BadInput, match=r"no bf16 — 7\.5"):
        EnginePlan(precision="bf16", targets=("8.6", *turing))


@pytest.mark.usefixtures("rtx")
def test_the_library_itself_refuses_bf16_on_turing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why this is refused before anything is built."""
    path = tmp_path / "half.onnx"
    path.write_bytes(half_network(BFLOAT))
    monkeypatch.setattr(engine_plan, "TARGETS_WITHOUT", {})
    monkeypatch.setattr(engine, "WORKER", plant("engine_plan.TARGETS_WITHOUT = {}"))
    with pytest.raises(CheckFailed, match="built no sound engine"):
        build_engine(path, tmp_path / "e", EnginePlan(precision="bf16", targets=("7.5",)))


@pytest.mark.usefixtures("rtx")
def test_warnings_are_recorded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = setting("config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS")
    monkeypatch.setattr(engine, "WORKER", plant(code))
    [warning] = build_engine(tiny, tmp_path / "e", EnginePlan()).warnings
    assert "unsupported" in warning
    assert f"WARNING {warning}" in (tmp_path / "e.log").read_text().splitlines()


@pytest.mark.usefixtures("rtx")
def test_what_a_library_prints_ends_in_the_log(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "inner = w.configure\ndef configure(*given):\n    os.write(1, b'{noise}\\n')\n    return inner(*given)\n"
    monkeypatch.setattr(engine, "WORKER", plant(code + "w.configure = configure"))
    build_engine(tiny, tmp_path / "e", EnginePlan())
    assert "STDERR {noise}" in (tmp_path / "e.log").read_text().splitlines()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch_min": 2}, "(2, 1, 8)"),
        ({"batch_opt": 9}, "(1, 9, 8)"),
        ({"batch_min": 0}, "(0, 1, 8)"),
        ({"batch_max": float("nan")}, "nan"),
        ({"targets": ("8.9", "9.0")}, "9.0 — choose of 7.5, 8.0, 8.6, 8.9, 12.0, 12.1"),
        ({"targets": ("8.7",)}, "8.7"),
        ({"targets": ()}, "()"),
        ({"targets": ("8.9", "8.9")}, "each once"),
        ({"precision": "fp8"}, "fp32, fp16, bf16, int8"),
        ({"workspace_bytes": 0}, "workspace"),
        ({"optimization_level": 6}, "6"),
        ({"runtime": "tensorrt_rtx"}, "auto, tensorrt, tensorrt-rtx"),
        ({"precision": "int8", "targets": ("8.6", "7.5")}, "no int8 — 7.5: TensorRT-RTX has no INT8 convolution"),
        ({"precision": "fp16", "tf32": True}, "a file of fp16 has none"),
        ({"timing_cache": ""}, "an empty name"),
    ],
)
def test_impossible_plans(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        EnginePlan(**fields)
    assert said in str(caught.value)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("plan", "option"),
    [
        (EnginePlan(hardware_compatible=True), "--hardware-compatible"),
        (EnginePlan(version_compatible=True), "--version-compatible"),
        (EnginePlan(optimization_level=5), "--optimization-level"),
        (EnginePlan(timing_cache="none"), "--timing-cache"),
    ],
)
def test_what_rtx_would_ignore_is_refused_before_building(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: EnginePlan, option: str
) -> None:
    monkeypatch.setattr(engine, "_run_worker", lambda *_: pytest.fail("a builder was started"))
    with pytest.raises(BadInput, match=f"TensorRT-RTX does not honour {option}"):
        build_engine(tiny, tmp_path / "e", plan)


def test_hardware_compatible_engines_are_refused_on_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(TENSORRT, "planted", "10.3.0", Gpu("Orin", "8.7", 1, 16))
    monkeypatch.setattr(engine_runtime, "jetson", lambda: Jetson("NVIDIA Jetson AGX Orin", "36.4.0"))
    assert engine_runtime.honoured(EnginePlan(version_compatible=True), choice).version_compatible
    with pytest.raises(BadInput, match="on JetPack — NVIDIA Jetson AGX Orin"):
        engine_runtime.honoured(EnginePlan(hardware_compatible=True), choice)
    monkeypatch.setattr(engine_runtime, "jetson", lambda: None)
    assert engine_runtime.honoured(EnginePlan(hardware_compatible=True), choice).hardware_compatible


@pytest.mark.usefixtures("rtx")
def test_a_level_changes_nothing_that_rtx_builds(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why one is refused."""
    monkeypatch.setattr(engine, "honoured", lambda plan, choice: replace(plan, targets=("8.6",)))
    records = [build_engine(tiny, tmp_path / "e", EnginePlan(optimization_level=level)) for level in (0, 5)]
    assert [record.optimization_level for record in records] == [0, 5]
    assert len({(record.size_bytes, record.scratch_bytes) for record in records}) == 1


RELU_UNKNOWN = (
    helper.make_node("Foo", ["features"], ["x"], "first_bad"),
    helper.make_node("Bar", ["x"], ["joints"], "second_bad", domain="nowhere"),
)
MIXED = (
    cast("features", "half", TensorProto.FLOAT16),
    helper.make_node("Add", ["features", "half"], ["joints"], "add"),
)
DOUBLE = TensorProto.DOUBLE


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize(
    ("model", "plan", "kind", "said"),
    [
        pytest.param(b"", {}, BadInput, ["empty"], id="empty file"),
        pytest.param(ModelProto(ir_version=8).SerializeToString(), {}, BadInput, ["holds no network"], id="no graph"),
        pytest.param(b"garbage" * 99, {}, BadInput, ["MODEL_DESERIALIZE_FAILED", "no ONNX model"], id="garbage"),
        pytest.param(network()[:500], {}, BadInput, ["MODEL_DESERIALIZE_FAILED", "cut off"], id="truncated"),
        pytest.param(
            network(*RELU_UNKNOWN),
            {},
            BadInput,
            ["node 1 'first_bad' (Foo)", "node 2 'second_bad' (Bar)", "mend the nodes"],
            id="unknown",
        ),
        pytest.param(network(name="input"), {}, BadInput, ["inputs input, outputs joints"], id="input's name"),
        pytest.param(network(batch=1), {}, BadInput, ["fixed", "(1, 1, 8)"], id="fixed batch"),
        pytest.param(network(kind=DOUBLE, out=DOUBLE), {}, BadInput, ["image is DOUBLE"], id="float64 input"),
        pytest.param(
            network(cast("features", "joints", DOUBLE), out=DOUBLE),
            {},
            BadInput,
            ["joints is DOUBLE"],
            id="float64 output",
        ),
        pytest.param(network(*MIXED), {}, BadInput, ["node 2 'add' (Add)", "Float and Half"], id="mixed types"),
        pytest.param(network(*HALF_INSIDE), {}, BadInput, ["fp16, not fp32"], id="another precision"),
        pytest.param(
            half_network(conv=FLOAT),
            {"precision": "fp16"},
            CheckFailed,
            ["CONVOLUTION", "1 FLOAT"],
            id="FP32 convolution",
        ),
        pytest.param(
            half_network(BFLOAT, conv=HALF),
            {"precision": "bf16"},
            CheckFailed,
            ["CONVOLUTION", "1 HALF"],
            id="FP16 in BF16",
        ),
        pytest.param(
            half_network(softmax=HALF), {"precision": "fp16"}, CheckFailed, ["SOFTMAX", "1 HALF"], id="half softmax"
        ),
        pytest.param(network(), {"workspace_bytes": 1024}, BadInput, ["1024 bytes of workspace"], id="workspace"),
    ],
)
def test_models_that_cannot_be_built(
    tmp_path: Path, model: bytes, plan: dict[str, Any], kind: type[Failure], said: list[str]
) -> None:
    source, path = tmp_path / "bad.onnx", tmp_path / "bad.engine"
    source.write_bytes(model)
    with pytest.raises(kind) as caught:
        build_engine(source, path, EnginePlan(**plan))
    assert all(words in str(caught.value) for words in said), str(caught.value)
    assert "cudaError" not in str(caught.value)
    assert caught.value.exit_code == (1 if kind is CheckFailed else 2)
    assert {file.name for file in tmp_path.iterdir()} <= {"bad.onnx", "bad.engine.failed.log"}
    assert (kind is CheckFailed) == (tmp_path / "bad.engine.failed.log").exists()


@pytest.mark.usefixtures("rtx")
def test_weights_in_another_file_are_refused(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(tiny), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(BadInput, match="not the whole model"):
        build_engine(path, tmp_path / "e", EnginePlan())


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_paths_that_cannot_be_used(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WORKER", ("/nonexistent",))  # all of this is judged before a worker starts
    for source, path in [
        (tmp_path / "absent.onnx", tmp_path / "e"),
        (tiny, tiny),
        (tiny, tmp_path),
        (tiny, tiny / "below a file" / "e"),
    ]:
        with pytest.raises(BadInput):
            build_engine(source, path, EnginePlan())
    assert tiny.read_bytes() == network()


# ── what goes wrong in the worker ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        pytest.param("import ctypes; ctypes.string_at(0)", CheckFailed, "killed by SIGSEGV", id="crash"),
        pytest.param("os._exit(0)", CheckFailed, "exit status 0", id="no result"),
        pytest.param("raise RuntimeError('planted')", CheckFailed, "RuntimeError: planted", id="exception"),
        pytest.param("w.main(); os._exit(3)", CheckFailed, "exit status 3", id="result, then failure"),
        pytest.param("sys.modules['tensorrt_rtx'] = None", NotPossible, "does not load", id="library broken"),
        pytest.param(
            "inner = w.build\n"
            "w.build = lambda a, b, c, d, *rest, **more: inner(a, b, c, w.Path('/dev/full'), *rest, **more)",
            BadInput,
            "No space left",
            id="disk full",
        ),
        pytest.param(
            setting("config.runtime_platform = trt.RuntimePlatform.WINDOWS_AMD64"),
            CheckFailed,
            "built no sound engine",
            id="error in the log of a plan",
        ),
        pytest.param(
            """
            class Deaf:
                def __init__(self, config): self.__dict__["config"] = config
                def __getattr__(self, name): return getattr(self.config, name)
                def __setattr__(self, name, value): setattr(self.config, name, value)
                def clear_flag(self, flag): pass
            inner = w.configure
            w.configure = lambda trt, builder, plan: inner(
                trt, types.SimpleNamespace(create_builder_config=lambda: Deaf(builder.create_builder_config())), plan
            )
            """,
            CheckFailed,
            "did not take TF32 False — True",
            id="TF32 stays on",
        ),
        pytest.param(
            "inner = w.profile_shapes\nw.profile_shapes = lambda *given: inner(*given)[::-1]",
            CheckFailed,
            "MIN<=OPT<=MAX",
            id="profile rejected",
        ),
        pytest.param(
            "inner = w.build\ndef build(*given, **more):\n    result = inner(*given, **more)\n"
            "    os.truncate(given[3], 100)\n    return result\nw.build = build",
            CheckFailed,
            "100 bytes in place of",
            id="file cut",
        ),
    ],
)
def test_defects_in_the_worker(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Failure], said: str
) -> None:
    monkeypatch.setattr(engine, "WORKER", plant(code))
    with pytest.raises(kind) as caught:
        build_engine(tiny, tmp_path / "e", EnginePlan())
    assert said in str(caught.value)
    left = {file.name for file in tmp_path.iterdir()} - {"tiny.onnx"}
    assert left == ({"e.failed.log"} if kind is CheckFailed and "e.failed.log" in str(caught.value) else set())


@pytest.mark.usefixtures("rtx")
def test_the_log_of_a_failed_build_is_kept_until_one_succeeds(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = setting("config.runtime_platform = trt.RuntimePlatform.WINDOWS_AMD64")
    build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.6",)))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    failed = tmp_path / "kept" / "e.failed.log"
    with monkeypatch.context() as patch:
        patch.setattr(engine, "WORKER", plant(code))
        with pytest.raises(CheckFailed, match=f"built no sound engine.*the builder's log: {failed}"):
            build_engine(tiny, tmp_path / "e", EnginePlan(), kept_in=failed.parent)
    assert any(line.startswith("ERROR ") for line in failed.read_text().splitlines())
    failed_before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert failed_before == before
    build_engine(tiny, tmp_path / "e", EnginePlan(), kept_in=failed.parent)
    assert not failed.exists()


@pytest.mark.usefixtures("rtx")
def test_a_target_that_only_the_library_refuses(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_plan, "RTX_TARGETS", ("9.0",))
    monkeypatch.setattr(engine, "WORKER", plant("engine_plan.RTX_TARGETS = ('9.0',)"))
    with pytest.raises(CheckFailed, match=r"did not take compute capability 9\.0"):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("9.0",)))


# ── interruptions ────────────────────────────────────────────────────────────────────────────────────────────────────


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """Its children, but for the process with which Python tracks shared memory once it was used."""
    return [child for child in parent.children() if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_worker_leaves_the_old_engine(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(engine, "WORKER", STALLING)

    def kill(text: str, share: float | None = None) -> None:
        if share is not None and share > 0.3:
            [worker] = workers_of(psutil.Process())
            worker.send_signal(end)

    with pytest.raises(CheckFailed, match=f"killed by {end.name}"):
        build_engine(tiny, tmp_path / "e", EnginePlan(), kill)
    (tmp_path / "e.failed.log").unlink()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_no_old_record_beside_a_new_engine(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    build_engine(tiny, tmp_path / "e", EnginePlan())
    monkeypatch.setattr(engine, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))
    assert (tmp_path / "e").exists()
    assert not (tmp_path / "e.json").exists()


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_an_exception_while_listening_ends_the_worker(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WORKER", STALLING)
    workers: list[psutil.Process] = []

    def interrupt(text: str, share: float | None = None) -> None:
        if share is not None and share > 0.3:
            workers.extend(workers_of(psutil.Process()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny, tmp_path / "e", EnginePlan(), interrupt)
    assert len(workers) == 1
    assert not workers[0].is_running()
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]


def control_c(parent: psutil.Process) -> None:
    os.killpg(parent.pid, signal.SIGINT)


def kill_parent(parent: psutil.Process) -> None:
    parent.kill()


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("end", [control_c, kill_parent])
def test_no_orphan(tiny: Path, tmp_path: Path, end: Callable[[psutil.Process], None]) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from export import engine
        engine.WORKER = {STALLING!r}
        def tell(text, share=None):
            if share > 0.3:
                print("in the middle", flush=True)
        plan = engine.EnginePlan(runtime="tensorrt-rtx")
        engine.build_engine(Path({str(tiny)!r}), Path({str(tmp_path / "e")!r}), plan, tell)
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=engine.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "in the middle\n"
    parent = psutil.Process(run.pid)
    [worker] = workers_of(parent)
    end(parent)
    _, stderr = run.communicate(timeout=10)
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
    if end is control_c:
        assert run.returncode == -signal.SIGINT
        assert stderr.count("Traceback") == 1  # the parent's own; the worker's end is quiet
        assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]


# ── which runtime ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_runtime_is_not_possible(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="tensorrt is not installed; tensorrt_rtx is not installed") as caught:
        build_engine(tiny, tmp_path / "new" / "e", EnginePlan())
    assert caught.value.exit_code == 4
    assert not (tmp_path / "new").exists()


@pytest.fixture
def both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: "installed")
    monkeypatch.setattr(engine_runtime, "library_version", lambda name: ("10.3.0", ""))


@pytest.mark.usefixtures("both_installed")
@pytest.mark.parametrize(
    ("init", "count", "runtime", "reason"),
    [
        (0, 1, "tensorrt", r"tensorrt is installed and First \(8\.6\) answers"),
        (0, 0, "tensorrt_rtx", "sees no GPU"),
        (100, 0, "tensorrt_rtx", "cuInit: error 100"),
        (None, 0, "tensorrt_rtx", "there is no NVIDIA driver"),
    ],
)
def test_tensorrt_needs_a_driver_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: int | None, count: int, runtime: str, reason: str
) -> None:
    driver = str(tmp_path / "absent.so") if init is None else stub_driver(tmp_path, init, count)
    monkeypatch.setattr(nvidia, "DRIVER", driver)
    choice = choose_runtime()
    assert choice.backend == BACKENDS[runtime]
    assert re.search(reason, choice.reason)
    assert choice.tunes_on == (Gpu("First", "8.6", 5_000_000_000, 46) if runtime == "tensorrt" else None)
    assert (choice.gpu is None) == bool(choice.no_gpu)


@pytest.mark.usefixtures("both_installed")
def test_a_runtime_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU and both are installed, TensorRT-RTX is had by asking for it only."""
    monkeypatch.setattr(nvidia, "DRIVER", stub_driver(tmp_path, 0, 1))
    rtx = choose_runtime("tensorrt-rtx")
    assert (rtx.backend, rtx.tunes_on) == (TENSORRT_RTX, None)
    assert rtx.gpu is not None
    assert rtx.reason == "tensorrt-rtx was asked for; tensorrt_rtx is installed"
    monkeypatch.setattr(nvidia, "DRIVER", str(tmp_path / "absent.so"))
    none = choose_runtime("tensorrt")
    assert none.backend is None
    assert "tensorrt was asked for; tensorrt is installed, but there is no NVIDIA driver" in none.reason


def test_a_library_that_does_not_load_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack's has no record of pip's: the version is what the library says, and no word is no version."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "of_jetpack.py").write_text("__version__ = '10.3.0'")
    (tmp_path / "broken.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    (tmp_path / "dying.py").write_text("import os; os.abort()")
    assert library_version("of_jetpack") == ("10.3.0", "")
    assert library_version("broken") == ("", "ImportError: libnvinfer.so.10: cannot open")
    assert library_version("dying") == ("", "exit status -6")
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: "installed")
    monkeypatch.setattr(engine_runtime, "default_gpu", lambda: (Gpu("Orin", "8.7", 1, 16), ""))
    monkeypatch.setattr(
        engine_runtime, "library_version", lambda name: ("", "planted") if name == "tensorrt" else ("1", "")
    )
    choice = choose_runtime()
    assert choice.backend == TENSORRT_RTX
    assert "tensorrt is installed, but does not load: planted" in choice.reason


@pytest.mark.usefixtures("rtx")
def test_the_version_is_the_library_s_own() -> None:
    import tensorrt_rtx

    assert choose_runtime("tensorrt-rtx").version == tensorrt_rtx.__version__


def test_tensorrt_takes_no_targets(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(TENSORRT, "planted", "10.3.0", Gpu("Stub GPU", "8.6", 1, 16))
    monkeypatch.setattr(engine, "choose_runtime", lambda wanted: choice)
    with pytest.raises(BadInput, match="for this machine's GPU only"):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))


# ── what is looked at where a GPU loads it ───────────────────────────────────────────────────────────────────────────

INSPECTION = """
import tensorrt_rtx
class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, blob): return self
    def create_engine_inspector(self): return self
    def get_engine_information(self, format): return TOLD
tensorrt_rtx.Runtime = Runtime
"""
"""In place of the runtime, which only a GPU has."""


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("gpu", "kind", "asked"), [("8.6", "Float", True), ("8.6", "", True), ("8.6", "Half", True), ("9.0", "Half", False)]
)
def test_rtx_engines_are_inspected_where_a_gpu_of_theirs_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, kind: str, asked: bool
) -> None:
    monkeypatch.setattr(engine_runtime, "default_gpu", lambda: (Gpu("Planted", gpu, 1, 16), ""))
    layer = {"Name": "conv", "LayerType": "conv", "Inputs": [{"Name": "t", "DataType": kind}]}
    told = json.dumps({"Layers": [layer] if kind else ["conv"]})
    monkeypatch.setattr(engine, "WORKER", plant(INSPECTION.replace("TOLD", repr(told))))
    plan = EnginePlan(runtime="tensorrt-rtx", targets=("8.6",))
    if asked and kind == "Half":
        with pytest.raises(CheckFailed, match="does not keep its precision — conv computes in fp16"):
            build_engine(tiny, tmp_path / "e", plan)
        assert not (tmp_path / "e").exists()
        return
    record = build_engine(tiny, tmp_path / "e", plan)
    assert (record.inspected is not None) == asked
    if not asked:
        assert record.not_inspected == "Planted (9.0) is none of the GPUs that it was built for"
    else:
        assert record.inspected is not None
        assert record.not_inspected == ("" if kind else "the inspector names no types")
        assert record.inspected.types == ({"conv": {"fp32": 1}} if kind else {})
    assert record.not_run == "building runs nothing; `convnextpose bench` and `predict` do"


def test_importing_the_module_is_light() -> None:
    check = (
        "import sys, export.engine; print({'tensorrt', 'tensorrt_rtx', 'onnx', 'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=engine.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ── records, headers, shares ─────────────────────────────────────────────────────────────────────────────────────────

RECORD = EngineRecord(
    schema_version=5,
    status="built for SM 8.9; not run",
    not_run="there is no NVIDIA driver",
    runtime="tensorrt_rtx",
    chosen="tensorrt_rtx is installed",
    package_version="1.7.1.116",
    built_on="Linux x86_64",
    gpu=None,
    targets=("8.9",),
    precision="fp32",
    layer_types={"CONVOLUTION": {"FLOAT": 65}},
    convolutions=Convolutions(65, 0),
    inspected=EngineLayers(2, {"CaskConvolution": {"fp32": 2}}, ()),
    not_inspected="",
    tf32=False,
    profile=engine.Profile("image", (1, 3, 256, 256), (1, 3, 256, 256), (8, 3, 256, 256)),
    workspace_bytes=1 << 30,
    optimization_level=3,
    timing_cache=None,
    hardware_compatible=False,
    version_compatible=False,
    build_seconds=0.5,
    size_bytes=31_648_260,
    weight_bytes=None,
    scratch_bytes=64_800_000,
    activation_bytes=None,
    warnings=("a warning",),
    onnx_sha256="0" * 64,
    engine_sha256="1" * 64,
    engine_reproducible=False,
    plan_magic="vtrt",
    plan_version="1.7.1.116",
)


def test_an_engine_of_another_int8_plan_is_refused() -> None:
    int8 = replace(RECORD, convolutions=Convolutions(65, 42))
    require_planned(int8, 42)
    for planned in (41, 43, 0):
        with pytest.raises(CheckFailed, match=f"42 of 65 convolutions in int8, planned: {planned}"):
            require_planned(int8, planned)


def test_a_record_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps(asdict(RECORD)))
    assert read_record(path) == RECORD


@pytest.mark.parametrize("change", [{"schema_version": 1}, {"tf32": None}, {"size_bytes": "1"}, {"profile": {}}])
def test_other_records_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps({**asdict(RECORD), **change}))
    with pytest.raises(BadInput, match="build the engine again"):
        read_record(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not JSON"])
def test_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.json"
    path.write_text(text)
    with pytest.raises(BadInput):
        read_record(path)
    with pytest.raises(BadInput):
        read_record(tmp_path / "absent.json")


def test_the_header_is_compared(tmp_path: Path) -> None:
    good, path = b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]) + bytes(10), tmp_path / "e"
    path.write_bytes(good)
    assert check_plan_file(path, TENSORRT_RTX, "1.7.1.116", len(good)) == "1.7.1.116"
    for data, backend, version, size in [
        (good, TENSORRT, "1.7.1.116", len(good)),
        (good, TENSORRT_RTX, "1.6.1.116", len(good)),
        (good, TENSORRT_RTX, "1.7.1.116", len(good) + 1),
        (good[:27], TENSORRT_RTX, "1.7.1.116", 27),
        (b"", TENSORRT_RTX, "1.7.1.116", 0),
    ]:
        path.write_bytes(data)
        with pytest.raises(CheckFailed):
            check_plan_file(path, backend, version, size)


def test_sizes_are_read_from_the_log() -> None:
    log = ["INFO Max Scratch Memory: 12 bytes", "INFO Max Scratch Memory: 34 bytes", "INFO Total Weights Memory: some"]
    assert engine.bytes_in_log(log, "Max Scratch Memory") == 34
    assert engine.bytes_in_log(log, "Total Weights Memory") is None


def test_nested_phases_make_one_rising_share() -> None:
    phases, shares = Phases(), []
    phases.start("whole", None, 2)
    phases.start("part", "whole", 4)
    for step in range(4):
        phases.step("part", step)
        shares.append(phases.share)
    phases.step("whole", 0)
    phases.start("part", "whole", 0)  # a second phase of the same name; a count of 0 happens
    phases.step("part", 0)
    shares.append(phases.share)
    phases.start("again", None, 2)  # a second phase at the top must not throw the share back
    phases.step("again", 0)
    shares.append(phases.share)
    assert shares == [0.125, 0.25, 0.375, 0.5, 1.0, 1.0]
