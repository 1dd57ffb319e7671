"""The doctor must answer on any machine, and never promise what the machine cannot do."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.machine import facts as asking
from bench.machine import system as machine
from bench.machine.doctor import capabilities, report, require
from bench.machine.facts import Answer, Facts, facts
from cli.render import tables as render
from export.common import gpu
from export.common.errors import BadInput, NotPossible
from export.common.gpu import Gpu, Jetson
from export.runtime import gpu as runtime_gpu
from export.runtime.openvino import SATURATES
from tests.support.command_line import ROOT

GIB = 1 << 30
NO_DRIVER: Answer[Any] = Answer(None, "there is no NVIDIA driver")
PLAIN = Facts(
    python="3.11.7",
    system="Linux x86_64",
    packages={**dict.fromkeys(asking.PACKAGES, "1.0"), "onnxruntime": "1.31.1", "tensorrt": None},
    torch_cuda=Answer(None, "torch is built for the CPU only"),
    cpu=Answer("Some processor"),
    cores=4,
    features=Answer(("AVX2", "AVX-512 VNNI")),
    memory=Answer((16 * GIB, 8 * GIB)),
    disk=Answer(100 * GIB),
    gpus=NO_DRIVER,
    driver=NO_DRIVER,
    jetson=Answer(None),
    cuda_session=NO_DRIVER,
)
WITH_GPU = replace(
    PLAIN,
    packages=PLAIN.packages | {"tensorrt": "10.3.0"},
    torch_cuda=Answer("13.0"),
    gpus=Answer((Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 * GIB, 128),)),
    driver=Answer("580.65.06"),
    cuda_session=Answer("CUDAExecutionProvider"),
)
ORIN = replace(
    WITH_GPU,
    system="Linux aarch64",
    packages=WITH_GPU.packages | {"tensorrt-rtx": None},
    features=Answer(("NEON", "NEON FP16", "NEON dot product")),
    gpus=Answer((Gpu("Orin", "8.7", 32 * GIB, 16),)),
    jetson=Answer(Jetson("NVIDIA Jetson AGX Orin", "36.4.0")),
)


def with_onnx_runtime(version: str) -> dict[str, Any]:
    return {"packages": WITH_GPU.packages | {"onnxruntime": version}}


def verdicts(of: Facts) -> dict[str, str]:
    return {capability.name: capability.available for capability in capabilities(of)}


def why(of: Facts, name: str) -> str:
    return next(capability.why for capability in capabilities(of) if capability.name == name)


def test_a_machine_without_a_gpu() -> None:
    said = verdicts(PLAIN)
    assert [name for name, verdict in said.items() if verdict == "no"] == [
        "build-tensorrt",
        "run-onnxruntime-bf16",
        "run-onnxruntime-cuda",
        "run-tensorrt",
        "run-tensorrt-rtx",
    ]
    assert set(said.values()) == {"yes", "no"}
    assert "AVX-512 VNNI" in why(PLAIN, "run-onnxruntime-int8")


def test_a_gpu_opens_what_needs_one() -> None:
    assert [name for name, verdict in verdicts(WITH_GPU).items() if verdict != "yes"] == ["run-onnxruntime-bf16"]
    assert "RTX 4090 (8.9)" in why(WITH_GPU, "run-tensorrt")


def test_a_jetson_runs_tensorrt_and_not_rtx() -> None:
    said = verdicts(ORIN)
    assert (said["build-tensorrt"], said["run-tensorrt"]) == ("yes", "yes")
    assert (said["build-tensorrt-rtx"], said["run-tensorrt-rtx"]) == ("no", "no")


@pytest.mark.parametrize(
    ("change", "name", "verdict", "said"),
    [
        ({"gpus": Answer((Gpu("NVIDIA H100", "9.0", 80 * GIB, 132),))}, "run-tensorrt-rtx", "no", "9.0 (NVIDIA H100)"),
        ({"torch_cuda": Answer(None, "torch is built for the CPU only")}, "run-tensorrt", "no", "CPU only"),
        ({"cuda_session": Answer("CPUExecutionProvider")}, "run-onnxruntime-cuda", "no", "fell back to CPUExec"),
        ({"gpus": Answer(())}, "run-onnxruntime-cuda", "no", "sees no GPU"),
        ({"features": Answer(("AVX2",))}, "run-onnxruntime-int8", "yes", "seldom faster"),
        ({"features": Answer(("AVX2",))}, "run-openvino-int8", "no", SATURATES),
        ({"features": Answer(None, "no such file")}, "run-openvino-int8", "unknown", "no such file"),
        ({"system": "Linux aarch64"}, "run-openvino-int8", "unknown", "was not tried"),
        ({"features": Answer(("AVX2",))}, "run-openvino-bf16", "yes", "computed in FP32"),
        ({"memory": Answer((16 * GIB, GIB))}, "room", "no", "1.0 GiB of memory"),
        ({"memory": Answer(None, "not Linux")}, "room", "unknown", "not Linux"),
        ({"packages": dict.fromkeys(asking.PACKAGES)}, "export", "no", "torch, onnx, onnxscript, onnxruntime"),
        (with_onnx_runtime("1.29.0"), "run-onnxruntime-int8", "no", "onnxruntime 1.29.0 computes INT8 files wrongly"),
        (with_onnx_runtime("1.30.0"), "run-onnxruntime-int8", "yes", "with AVX-512 VNNI"),
    ],
)
def test_what_is_lacking_is_named(change: dict[str, Any], name: str, verdict: str, said: str) -> None:
    changed = replace(WITH_GPU, **change)
    assert verdicts(changed)[name] == verdict
    assert said in why(changed, name)


def test_every_no_says_what_to_do() -> None:
    nothing = replace(PLAIN, packages=dict.fromkeys(asking.PACKAGES), disk=Answer(0))
    refused = [capability for capability in capabilities(nothing) if capability.available != "yes"]
    assert all(capability.do for capability in refused)


def test_require() -> None:
    found = capabilities(PLAIN)
    require(found, ["export", "build-tensorrt-rtx"])
    with pytest.raises(NotPossible, match="no: tensorrt is not installed"):
        require(found, ["export", "run-tensorrt"])
    with pytest.raises(BadInput, match="give one of export, room"):
        require(found, ["flying"])
    with pytest.raises(NotPossible, match="unknown: not Linux"):
        require(capabilities(replace(PLAIN, memory=Answer(None, "not Linux"))), ["room"])


# ── probes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

PROBES = ("gpus", "driver_version", "jetson", "cpu_name", "cpu_features", "memory_bytes", "torch_cuda")


@pytest.mark.parametrize("probe", [*PROBES, "free_disk_bytes", "package", "cuda_session"])
@pytest.mark.parametrize("error", [KeyError("planted"), PermissionError(13, "planted")])
def test_a_failing_probe_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(asking, "gpus", lambda: (Gpu("Stub", "8.9", GIB, 16),))
    monkeypatch.setattr(asking, "cuda_session", lambda: "CUDAExecutionProvider")
    monkeypatch.setattr(asking, probe, fail)
    found = facts(tmp_path)
    render.doctor(found, capabilities(found))
    shown = capsys.readouterr().out
    said = json.dumps(report(found)) + shown
    assert "planted" in said or probe == "package"
    assert "Traceback" not in said
    if probe in PROBES[3:6] or probe == "free_disk_bytes":
        assert "unknown: " in shown


def test_the_processor_and_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, limit, memory = tmp_path / "cpuinfo", tmp_path / "memory.max", tmp_path / "meminfo"
    monkeypatch.setattr(machine, "CPUINFO", info)
    monkeypatch.setattr(machine, "MEMINFO", memory)
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (limit,))
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp i8mm bf16\n")
    assert machine.cpu_features() == ("NEON", "NEON FP16", "NEON dot product", "I8MM", "BF16")
    info.write_text("flags\t\t: sse avx2 avx_vnni amx_tile amx_int8\n")
    assert machine.cpu_features() == ("AVX2", "AVX VNNI", "AMX", "AMX INT8")
    info.write_text("processor : 0\n")
    with pytest.raises(ValueError, match="names no features"):
        machine.cpu_features()
    memory.write_text("MemTotal:  8 kB\nMemFree: 1 kB\nMemAvailable:  4 kB\n\n")
    limit.write_text("max\n")
    assert machine.memory_bytes() == (8192, 4096)
    limit.write_text("2048\n")
    assert machine.memory_bytes() == (2048, 2048)
    assert machine.free_disk_bytes(tmp_path / "not" / "there") > 0


@pytest.mark.parametrize(
    ("model", "release", "found"),
    [
        (None, None, None),
        ("Raspberry Pi 5\0", None, None),
        (
            "NVIDIA Jetson AGX Orin Developer Kit\0",
            "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n",
            Jetson("NVIDIA Jetson AGX Orin Developer Kit", "36.4.0"),
        ),
        ("NVIDIA Jetson AGX Thor\0", "in another form", Jetson("NVIDIA Jetson AGX Thor", None)),
        ("NVIDIA Jetson AGX Thor\0", None, Jetson("NVIDIA Jetson AGX Thor", None)),
    ],
)
def test_which_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str | None, release: str | None, found: Jetson | None
) -> None:
    monkeypatch.setattr(gpu, "DEVICE_TREE", tmp_path / "model")
    monkeypatch.setattr(gpu, "TEGRA_RELEASE", tmp_path / "release")
    for name, text in (("model", model), ("release", release)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert gpu.jetson() == found


@pytest.mark.usefixtures("driver")
def test_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "MANAGEMENT", runtime_gpu.DRIVER)
    monkeypatch.setenv("STANDIN_GPUS", "2")
    first, second = gpu.gpus()
    assert (first.name, second.name) == ("Orin", "Orin 1")
    assert gpu.default_gpu() == (first, "")
    assert gpu.driver_version() == "580.65.06"
    monkeypatch.setenv("STANDIN_REFUSES", "cuInit")
    with pytest.raises(RuntimeError, match="cuInit: error 999"):
        gpu.gpus()
    monkeypatch.setenv("STANDIN_REFUSES", "nvmlInit_v2")
    with pytest.raises(RuntimeError, match="error 999"):
        gpu.driver_version()
    monkeypatch.setattr(runtime_gpu, "DRIVER", str(tmp_path / "absent.so"))
    with pytest.raises(OSError, match="there is no NVIDIA driver"):
        gpu.gpus()


def test_torch_tells_its_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.setattr(
        asking, "find_spec", lambda _: type("Spec", (), {"origin": str(tmp_path / "torch/__init__.py")})
    )
    for line, cuda in (("cuda: Optional[str] = '13.0'", "13.0"), ('cuda = "12.6"', "12.6"), ("cuda = None", None)):
        (tmp_path / "torch/version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip = None\n")
        assert asking.ask(asking.torch_cuda).value == cuda


def test_a_session_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CUDA_SESSION", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert "exit status -11" in asking.ask(asking.cuda_session).trouble


def test_it_is_quick_since_it_loads_nothing_large() -> None:
    large = {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cv2", "scipy"}
    check = f"import sys, bench.machine.doctor; from bench.machine.facts import facts; from pathlib import Path; \
facts(Path()); print({large} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
