"""Facts of a machine: every probe answers, whatever fails."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.machine import driver, facts, system
from bench.machine.doctor import capabilities, report
from bench.machine.environment import environment_record, fingerprint
from bench.machine.facts import collect_facts
from cli.render.doctor import print_doctor
from export.pipeline.steps import version
from export.runtime import gpu
from export.runtime.gpu import Gpu, Jetson
from tests.support.command_line import ROOT

GIB = 1 << 30

PROBES = ("gpus", "driver_version", "jetson", "cpu_name", "cpu_features", "memory_bytes", "torch_cuda")
GPU_PROBES = ("driver_cuda", "onnxruntime_cuda", "libnvinfer", "package_cuda")


@pytest.mark.parametrize("probe", [*PROBES, *GPU_PROBES, "free_disk_bytes", "package", "cuda_session"])
@pytest.mark.parametrize("error", [KeyError("planted"), PermissionError(13, "planted")])
def test_a_failing_probe_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(facts, "gpus", lambda: (Gpu("Stub", "8.9", GIB, 16),))
    monkeypatch.setattr(facts, "cuda_session", lambda: "CUDAExecutionProvider")
    monkeypatch.setattr(facts, probe, fail)
    answers = collect_facts(tmp_path)
    print_doctor(answers, capabilities(answers))
    shown = capsys.readouterr().out
    output = json.dumps(report(answers)) + shown
    assert "planted" in output or probe == "package"
    assert "Traceback" not in output
    if probe in PROBES[3:6] or probe == "free_disk_bytes":
        assert "unknown: " in shown


def test_the_processor_and_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, limit, memory = tmp_path / "cpuinfo", None, SimpleNamespace(total=8192, available=4096)
    monkeypatch.setattr(system, "CPUINFO", info)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(system, "memory_limit", lambda: limit)
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp i8mm bf16\n")
    assert system.cpu_features() == ("NEON", "NEON FP16", "NEON dot product", "I8MM", "BF16")
    info.write_text("flags\t\t: sse avx2 avx_vnni amx_tile amx_int8\n")
    assert system.cpu_features() == ("AVX2", "AVX VNNI", "AMX", "AMX INT8")
    info.write_text("processor : 0\n")
    with pytest.raises(ValueError, match="names no features"):
        system.cpu_features()
    assert system.memory_bytes() == (8192, 4096)
    limit = 2048
    assert system.memory_bytes() == (2048, 2048)
    assert system.free_disk_bytes(tmp_path / "not" / "there") > 0


@pytest.mark.parametrize(
    ("model", "release", "board"),
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
def test_jetson_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str | None, release: str | None, board: Jetson | None
) -> None:
    monkeypatch.setattr(gpu, "DEVICE_TREE", tmp_path / "model")
    monkeypatch.setattr(gpu, "TEGRA_RELEASE", tmp_path / "release")
    for name, text in (("model", model), ("release", release)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert gpu.jetson() == board


@pytest.mark.usefixtures("driver")
def test_a_driver_with_two_gpus_and_one_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MANAGEMENT", gpu.DRIVER)
    monkeypatch.setenv("FAKE_GPUS", "2")
    first, second = gpu.gpus()
    assert (first.name, second.name) == ("Orin", "Orin 1")
    assert gpu.default_gpu() == (first, "")
    assert (driver.driver_version(), driver.driver_cuda()) == ("580.65.06", "13.0")
    monkeypatch.setenv("FAKE_REFUSES", "cuInit")
    with pytest.raises(RuntimeError, match="cuInit: error 999"):
        gpu.gpus()
    monkeypatch.setenv("FAKE_REFUSES", "nvmlInit_v2")
    with pytest.raises(RuntimeError, match="error 999"):
        driver.driver_version()
    monkeypatch.setattr(gpu, "DRIVER", str(tmp_path / "absent.so"))
    with pytest.raises(OSError, match="there is no NVIDIA driver"):
        gpu.gpus()


def test_the_cuda_version_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.setattr(facts, "find_spec", lambda _: type("Spec", (), {"origin": str(tmp_path / "torch/__init__.py")}))
    for line, cuda in (("cuda: Optional[str] = '13.0'", "13.0"), ('cuda = "12.6"', "12.6"), ("cuda = None", None)):
        (tmp_path / "torch/version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip = None\n")
        assert facts.ask(facts.torch_cuda).value == cuda


def test_versions_that_onnx_runtimes_files_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, folder = tmp_path / "onnxruntime/__init__.py", tmp_path / "onnxruntime/capi"
    monkeypatch.setattr(facts, "find_spec", lambda _: type("Spec", (), {"origin": str(origin)}))
    assert "build_and_package_info" in facts.ask(facts.onnxruntime_cuda).trouble
    folder.mkdir(parents=True)
    for text, cuda in (("cuda_version = '12.8'", "12.8"), ("package_name = 'onnxruntime'", None)):
        (folder / "build_and_package_info.py").write_text(f"__version__ = '1.31.1'\n{text}\n")
        assert facts.ask(facts.onnxruntime_cuda).value == cuda
    assert facts.ask(facts.onnxruntime_cuda).trouble == facts.ONNX_RUNTIME_FOR_CPU
    provider = folder / "libonnxruntime_providers_tensorrt.so"
    for content, major in (
        (b"\x7fELF\0libcudart.so.13\0libnvinfer.so.11\0", "11"),
        (b"\x7fELF\0libcudart.so.13\0", None),
    ):
        provider.write_bytes(content)
        assert facts.ask(facts.libnvinfer).value == major
    assert "names no libnvinfer" in facts.ask(facts.libnvinfer).trouble


def test_the_cuda_in_the_names_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"tensorrt-cu12"}
    monkeypatch.setattr(facts, "metadata_version", lambda name: "1.0" if name in installed else None)
    assert facts.package_cuda("tensorrt") == "12"
    assert "no package tensorrt-rtx-cu" in facts.ask(lambda: facts.package_cuda("tensorrt-rtx")).trouble
    installed.add("tensorrt-cu13")
    assert "installed for CUDA 12 and 13" in facts.ask(lambda: facts.package_cuda("tensorrt")).trouble


def test_a_limit_of_processor_time_is_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = environment_record()
    assert "cpu_limit" in record["host"]
    hosts = [record["host"] | {"cpu_limit": limit} for limit in (None, 0.5, 1.0)]
    prints = [fingerprint(record | {"host": host}) for host in hosts]
    assert len(set(prints)) == 3
    del record["host"]["cpu_limit"]
    assert fingerprint(record) == prints[0]
    for module in (facts, system):
        monkeypatch.setattr(module, "cpu_limit", lambda: 0.5)
    answers = collect_facts(tmp_path)
    print_doctor(answers, capabilities(answers))
    assert "limited to the time of 0.5" in capsys.readouterr().out
    assert system.machine()["cpu_limit"] == 0.5


def test_one_distribution_installed_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text('"""A module."""\n__version__ = "1.23.2"\n')
    for name, number in (("onnxruntime", "1.23.2"), ("onnxruntime_gpu", "1.31.1")):
        folder = tmp_path / f"{name}-{number}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert version("onnxruntime") == "1.23.2"
    assert environment_record()["software"]["libraries"]["onnxruntime"] == "1.23.2"
    answers = collect_facts(tmp_path)
    assert answers.packages["onnxruntime"] == "1.23.2"
    assert {row.name: row.available for row in capabilities(answers)}["run-onnxruntime-int8"] == "no"
    print_doctor(answers, capabilities(answers))
    shown = capsys.readouterr().out
    assert "installed by onnxruntime 1.23.2, onnxruntime-gpu 1.31.1" in shown


def test_a_session_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "CUDA_SESSION", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert "exit status -11" in facts.ask(facts.cuda_session).trouble


def test_it_is_quick_since_it_loads_nothing_large() -> None:
    large = {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cv2", "scipy"}
    check = (
        f"import sys, bench.machine.doctor; from bench.machine.facts import collect_facts; from pathlib import Path; \
collect_facts(Path()); print({large} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
