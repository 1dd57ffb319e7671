"""Rows on a GPU: planted versions of driver, CUDA and packages, and the row, the reason and the package that follow."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from packaging.requirements import Requirement

from bench.machine.doctor import capabilities
from bench.machine.facts import ONNX_RUNTIME_FOR_CPU, TORCH_FOR_CPU, Answer, Capability, Facts
from bench.machine.gpu_rows import CHECKED_RELEASES, gpu_rows
from export.runtime.gpu import Gpu
from tests.bench.machine.test_doctor import GIB, ORIN, WITH_GPU
from tests.support.command_line import ROOT

T4: Answer[tuple[Gpu, ...]] = Answer((Gpu("Tesla T4", "7.5", 15 * GIB, 40),))
P100: Answer[tuple[Gpu, ...]] = Answer((Gpu("Tesla P100", "6.0", 16 * GIB, 56),))
UNKNOWN: Answer[Any] = Answer(None, "planted")
CUDA_ROWS = ("run-pytorch-cuda", "run-onnxruntime-cuda", "run-onnxruntime-tensorrt", "run-tensorrt", "run-tensorrt-rtx")
OLD_DRIVER: dict[str, Any] = {
    "driver": Answer("570.133.20"),
    "driver_cuda": Answer("12.8"),
    "cuda_session": Answer(None, "planted"),
}


def tensorrt(version: str | None, cuda: str | None = "13") -> dict[str, Any]:
    return {
        "packages": WITH_GPU.packages | {"tensorrt": version},
        "tensorrt_cuda": Answer(cuda) if cuda else Answer(None, "no package tensorrt-cu…"),
    }


def row(facts: Facts, name: str) -> Capability:
    return next(row for row in capabilities(facts) if row.name == name)


def test_with_versions_that_fit_every_row_runs() -> None:
    assert {row.available for row in gpu_rows(WITH_GPU)} == {"yes"}
    reason = row(WITH_GPU, "run-tensorrt").reason
    assert "tensorrt 10.16.1.11 is built for CUDA 13, driver 580.65.06 runs CUDA 13.0" in reason
    assert "libnvinfer.so.10, which tensorrt 10.16.1.11" in row(WITH_GPU, "run-onnxruntime-tensorrt").reason


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("run-pytorch-cuda", "install torch built for CUDA 12"),
        ("run-onnxruntime-cuda", "install onnxruntime built for CUDA 12"),
        ("run-onnxruntime-tensorrt", "install onnxruntime built for CUDA 12"),
        ("run-tensorrt", "pip install 'tensorrt-cu12>=10.3,<11.5'"),
        ("build-tensorrt", "pip install 'tensorrt-cu12>=10.3,<11.5'"),
        ("run-tensorrt-rtx", "pip install 'tensorrt-rtx-cu12>=1.0,<1.8'"),
    ],
)
def test_a_driver_below_580_runs_nothing_that_is_built_for_cuda_13(name: str, advice: str) -> None:
    judged = row(replace(WITH_GPU, **OLD_DRIVER), name)
    assert judged.available == "no"
    assert judged.reason.endswith("driver 570.133.20 runs CUDA 12.8")
    assert judged.advice == f"update the driver to 580 or newer, or {advice}"


@pytest.mark.parametrize("driver", ["525.60.13", "570.133.20", "580.65.06"])
def test_a_driver_runs_every_minor_version_of_its_cuda_and_older_ones(driver: str) -> None:
    runs = Answer({"525.60.13": "12.0", "570.133.20": "12.8", "580.65.06": "13.0"}[driver])
    facts = replace(WITH_GPU, driver=Answer(driver), driver_cuda=runs, **tensorrt("11.4.0.106", "12"))
    facts = replace(facts, torch_cuda=Answer("12.9"))
    assert (row(facts, "run-pytorch-cuda").available, row(facts, "run-tensorrt").available) == ("yes", "yes")


@pytest.mark.parametrize(
    ("change", "available", "reason", "advice"),
    [
        (tensorrt("11.4.0.106"), "no", "so.10; tensorrt 11.4.0.106 brings libnvinfer.so.11", "environment of its own"),
        (tensorrt(None), "no", "libnvinfer.so.10; tensorrt is not installed", "pip install 'tensorrt-cu13>=10,<11'"),
        (tensorrt("10.16.1.11", "12"), "unknown", "the CUDA of tensorrt 10.16.1.11 is 12", "tensorrt-cu13"),
        (tensorrt("10.16.1.11", None), "unknown", "is unknown (no package tensorrt-cu…)", "tensorrt-cu13"),
        (tensorrt("of unknown version"), "unknown", "tensorrt is of unknown version", "tensorrt-cu13"),
        ({"libnvinfer": UNKNOWN}, "unknown", "planted", "onnxruntime-gpu"),
        ({"libnvinfer": Answer("11")} | tensorrt("11.4.0.106"), "yes", "libnvinfer.so.11", ""),
    ],
)
def test_onnx_runtimes_tensorrt_provider(change: dict[str, Any], available: str, reason: str, advice: str) -> None:
    judged = row(replace(WITH_GPU, **change), "run-onnxruntime-tensorrt")
    assert judged.available == available
    assert reason in judged.reason
    assert advice in judged.advice
    if change.get("libnvinfer") is None and available == "no":
        assert row(replace(WITH_GPU, **change), "run-onnxruntime-cuda").available == "yes"


@pytest.mark.parametrize(
    ("change", "available", "reason", "advice"),
    [
        ({"onnxruntime_cuda": Answer(None, ONNX_RUNTIME_FOR_CPU)}, "no", "for the CPU only", "onnxruntime-gpu"),
        ({"onnxruntime_cuda": UNKNOWN}, "unknown", "planted", "pip install onnxruntime-gpu"),
        ({"torch_cuda": Answer(None, TORCH_FOR_CPU)}, "no", TORCH_FOR_CPU, "install torch built for CUDA 13"),
        ({"torch_cuda": UNKNOWN}, "unknown", "planted", "install torch built for CUDA 13"),
        (
            {"torch_cuda": Answer("12.8"), "cuda_session": Answer("CPUExecutionProvider")},
            *("no", "built for CUDA 13.0, torch brings CUDA 12.8", "install torch built for CUDA 13"),
        ),
        (
            {"cuda_session": Answer(None, "libcublas.so.13: cannot open")},
            *("no", "libcublas.so.13: cannot open", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        ),
    ],
)
def test_onnx_runtimes_cuda_provider(change: dict[str, Any], available: str, reason: str, advice: str) -> None:
    judged = row(replace(WITH_GPU, **change), "run-onnxruntime-cuda")
    assert judged.available == available
    assert reason in judged.reason
    assert advice in judged.advice


def test_a_t4_has_no_bf16_and_runs_rtx_engines_only_if_they_are_built_for_it() -> None:
    facts = replace(WITH_GPU, gpus=T4)
    bf16, rtx = row(facts, "run-bf16-gpu"), row(facts, "run-tensorrt-rtx")
    assert (bf16.available, bf16.advice) == ("no", "export fp16 for this GPU")
    assert "7.5 (Tesla T4) has no BF16" in bf16.reason
    assert rtx.available == "yes"
    for limit in ("only engines that are built with --targets 7.5", "Turing has no BF16", "no INT8 convolution"):
        assert limit in rtx.reason
        assert limit not in row(WITH_GPU, "run-tensorrt-rtx").reason
    assert row(facts, "run-tensorrt").available == "yes"


def test_a_gpu_that_cuda_13_has_no_kernels_for() -> None:
    facts = replace(WITH_GPU, gpus=P100)
    judged = row(facts, "run-pytorch-cuda")
    assert (judged.available, judged.advice) == ("no", "install torch built for CUDA 12")
    assert "begins with compute capability 7.5; this GPU is Tesla P100 (6.0)" in judged.reason
    assert row(replace(facts, torch_cuda=Answer("12.6")), "run-pytorch-cuda").available == "yes"


@pytest.mark.parametrize(
    ("version", "available"),
    [
        ("8.6.1", "no"),
        ("10.3.0", "yes"),
        ("11.4.0.106", "yes"),
        ("11.5.0.1", "unknown"),
        ("of unknown version", "unknown"),
    ],
)
def test_only_releases_whose_bindings_are_checked_are_promised(version: str, available: str) -> None:
    judged = row(replace(WITH_GPU, **tensorrt(version)), "run-tensorrt")
    assert judged.available == available
    if available != "yes":
        assert "bindings of 10.3 to 11.4" in judged.reason
        assert judged.advice == "pip install 'convnextpose-deploy[tensorrt]'"


@pytest.mark.parametrize("package", CHECKED_RELEASES)
def test_the_checked_releases_are_those_of_the_extra(package: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    specifier = Requirement(extras[package][0]).specifier
    first, end = (".".join(map(str, release)) for release in CHECKED_RELEASES[package])
    assert specifier.contains(first)
    assert not specifier.contains(end)


@pytest.mark.parametrize("name", CUDA_ROWS)
def test_the_unknown_is_not_guessed(name: str) -> None:
    judged = row(replace(WITH_GPU, driver_cuda=UNKNOWN), name)
    assert (judged.available, judged.reason) == ("unknown", "the CUDA that the driver runs is unknown: planted")


def test_an_unknown_cuda_is_no_obstacle_to_a_driver_that_runs_all() -> None:
    unknown = tensorrt("10.16.1.11", None)
    assert row(replace(WITH_GPU, **unknown), "run-tensorrt").available == "yes"
    old = row(replace(WITH_GPU, **(OLD_DRIVER | unknown)), "run-tensorrt")
    assert old.available == "unknown"
    assert "its CUDA is unknown (no package tensorrt-cu…), driver 570.133.20 runs CUDA 12.8" in old.reason
    assert row(ORIN, "run-tensorrt").available == "yes"  # JetPack's TensorRT is made for JetPack's driver
    assert row(replace(ORIN, jetson=Answer(None)), "run-tensorrt").available == "unknown"
