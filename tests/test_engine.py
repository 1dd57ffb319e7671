"""Engines are really built here, by TensorRT-RTX without a GPU; TensorRT itself cannot run in these tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export import engine
from export.artifacts import PARTIAL_PREFIX, sha256_file
from export.engine import EnginePlan, EngineRecord, build_engine, check_plan_file, choose_runtime, read_record
from export.engine_layers import EngineLayers
from export.engine_worker import Phases
from export.errors import BadInput, CheckFailed, Failure, NotPossible

FLOAT = TensorProto.FLOAT


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


HALF, BFLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16


def half_network(body: int = HALF, *, conv: int | None = None, softmax: int = FLOAT) -> bytes:
    """The types of an exported half network in small; ``conv`` and ``softmax`` are other types for these two."""
    conv = conv or body
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(conv))
    nodes = [
        cast("image", "half", conv),
        helper.make_node("Conv", ["half", "weight"], ["features"], "conv", pads=[1, 1, 1, 1]),
        cast("features", "more", body),
        helper.make_node("Relu", ["more"], ["active"], "relu"),
        cast("active", "logits", softmax),
        helper.make_node("Softmax", ["logits"], ["shares"], "softmax", axis=1),
        cast("shares", "joints", FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("image", FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("joints", FLOAT, ["batch", 8, 32, 32])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return bytes(model.SerializeToString())


def cast(source: str, target: str, kind: int) -> Any:
    return helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind)


HALF_INSIDE = (cast("features", "half", TensorProto.FLOAT16), cast("half", "joints", FLOAT))


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob(PARTIAL_PREFIX + "*"))


def plant(code: str) -> tuple[str, ...]:
    """A worker with a defect: ``code`` runs before its ``main``, with the worker's module as ``w``."""
    head = "import os, sys, time, types\nfrom export import engine, engine_worker as w\n"
    return (sys.executable, "-c", head + textwrap.dedent(code) + "\nw.main()")


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
    monkeypatch.setattr(engine, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))


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
    assert record.targets == engine.DEFAULT_RTX_TARGETS
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
    monkeypatch.setattr(engine, "TARGETS_WITHOUT", {})
    monkeypatch.setattr(engine, "WORKER", plant("engine.TARGETS_WITHOUT = {}"))
    with pytest.raises(CheckFailed, match="built no sound engine"):
        build_engine(path, tmp_path / "e", EnginePlan(precision="bf16", targets=("7.5",)))


@pytest.mark.usefixtures("rtx")
def test_warnings_are_recorded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        inner = w.configure
        def configure(trt, builder, plan):
            config = inner(trt, builder, plan)
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
            return config
        w.configure = configure
    """
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
    ],
)
def test_impossible_plans(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        EnginePlan(**fields)
    assert said in str(caught.value)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("plan", "kind"),
    [(EnginePlan(hardware_compatible=True), "hardware"), (EnginePlan(version_compatible=True), "version")],
)
def test_what_rtx_would_ignore_is_refused_before_building(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: EnginePlan, kind: str
) -> None:
    monkeypatch.setattr(engine, "_run_worker", lambda *_: pytest.fail("a builder was started"))
    with pytest.raises(BadInput, match=f"no {kind} compatible engine"):
        build_engine(tiny, tmp_path / "e", plan)


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
        pytest.param(ModelProto(ir_version=8).SerializeToString(), {}, BadInput, ["0 layers"], id="no graph"),
        pytest.param(b"garbage" * 99, {}, BadInput, ["MODEL_DESERIALIZE_FAILED"], id="garbage"),
        pytest.param(network()[:500], {}, BadInput, ["MODEL_DESERIALIZE_FAILED"], id="truncated"),
        pytest.param(
            network(*RELU_UNKNOWN),
            {},
            BadInput,
            ["node 1 'first_bad' (Foo)", "node 2 'second_bad' (Bar)"],
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
            half_network(conv=FLOAT), {"precision": "fp16"}, BadInput, ["CONVOLUTION", "1 FLOAT"], id="FP32 convolution"
        ),
        pytest.param(
            half_network(BFLOAT, conv=HALF),
            {"precision": "bf16"},
            BadInput,
            ["CONVOLUTION", "1 HALF"],
            id="FP16 in BF16",
        ),
        pytest.param(
            half_network(softmax=HALF), {"precision": "fp16"}, BadInput, ["SOFTMAX", "1 HALF"], id="half softmax"
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
    assert [file.name for file in tmp_path.iterdir()] == ["bad.onnx"]


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
            "inner = w.build\nw.build = lambda a, b, c, d, *rest: inner(a, b, c, w.Path('/dev/full'), *rest)",
            BadInput,
            "No space left",
            id="disk full",
        ),
        pytest.param(
            """
            inner = w.configure
            def configure(trt, builder, plan):
                config = inner(trt, builder, plan)
                config.runtime_platform = trt.RuntimePlatform.WINDOWS_AMD64
                return config
            w.configure = configure
            """,
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
            "inner = w.build\ndef build(*given):\n    result = inner(*given)\n    os.truncate(given[3], 100)\n"
            "    return result\nw.build = build",
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
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]


@pytest.mark.usefixtures("rtx")
def test_a_target_that_only_the_library_refuses(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RTX_TARGETS", ("9.0",))
    monkeypatch.setattr(engine, "WORKER", plant("engine.RTX_TARGETS = ('9.0',)"))
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
        engine.TENSORRT = engine.replace(engine.TENSORRT, module="not_installed")
        def tell(text, share=None):
            if share > 0.3:
                print("in the middle", flush=True)
        engine.build_engine(Path({str(tiny)!r}), Path({str(tmp_path / "e")!r}), engine.EnginePlan(), tell)
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
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="tensorrt is not installed; tensorrt_rtx is not installed") as caught:
        build_engine(tiny, tmp_path / "new" / "e", EnginePlan())
    assert caught.value.exit_code == 4
    assert not (tmp_path / "new").exists()


STUB = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { __builtin_strncpy(name, "Stub GPU", size); return 0; }
"""


@pytest.mark.parametrize(
    ("init", "count", "runtime", "reason"),
    [
        (0, 1, "tensorrt", "tensorrt is installed and Stub GPU answers"),
        (0, 0, "tensorrt_rtx", "sees no GPU"),
        (100, 0, "tensorrt_rtx", "cuInit: error 100"),
        (None, 0, "tensorrt_rtx", "there is no NVIDIA driver"),
    ],
)
def test_tensorrt_needs_a_driver_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: int | None, count: int, runtime: str, reason: str
) -> None:
    library = tmp_path / "libcuda_stub.so"
    if init is not None:
        if (compiler := shutil.which("cc")) is None:
            pytest.skip("no C compiler for a stand-in of the driver")
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-x",
            "c",
            "-",
            f"-DINIT={init}",
            f"-DCOUNT={count}",
            "-o",
            str(library),
        ]
        subprocess.run(command, input=STUB.encode(), check=True)
    monkeypatch.setattr(engine, "DRIVER", str(library))
    monkeypatch.setattr(engine, "find_spec", lambda name: "installed")
    choice = choose_runtime()
    assert choice.backend is not None
    assert choice.backend.module == runtime
    assert reason in choice.reason
    assert choice.gpu == ("Stub GPU" if runtime == "tensorrt" else None)


def test_tensorrt_takes_no_targets(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = engine.Choice(engine.TENSORRT, "Stub GPU", "planted")
    monkeypatch.setattr(engine, "choose_runtime", lambda: choice)
    with pytest.raises(BadInput, match="for this machine's GPU only"):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))


def test_importing_the_module_is_light() -> None:
    check = (
        "import sys, export.engine; print({'tensorrt', 'tensorrt_rtx', 'onnx', 'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=engine.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ── records, headers, shares ─────────────────────────────────────────────────────────────────────────────────────────

RECORD = EngineRecord(
    schema_version=3,
    status="built for SM 8.9; not run",
    runtime="tensorrt_rtx",
    package_version="1.7.1.116",
    built_on="Linux x86_64",
    gpu=None,
    targets=("8.9",),
    precision="fp32",
    layer_types={"CONVOLUTION": {"FLOAT": 65}},
    inspected=EngineLayers(2, {"CaskConvolution": {"fp32": 2}}, ()),
    tf32=False,
    profile=engine.Profile("image", (1, 3, 256, 256), (1, 3, 256, 256), (8, 3, 256, 256)),
    workspace_bytes=1 << 30,
    optimization_level=3,
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
    assert check_plan_file(path, engine.TENSORRT_RTX, "1.7.1.116", len(good)) == "1.7.1.116"
    for data, backend, version, size in [
        (good, engine.TENSORRT, "1.7.1.116", len(good)),
        (good, engine.TENSORRT_RTX, "1.6.1.116", len(good)),
        (good, engine.TENSORRT_RTX, "1.7.1.116", len(good) + 1),
        (good[:27], engine.TENSORRT_RTX, "1.7.1.116", 27),
        (b"", engine.TENSORRT_RTX, "1.7.1.116", 0),
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
