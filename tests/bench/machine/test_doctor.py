"""The doctor must answer on any machine, and never promise what the machine cannot do."""

from dataclasses import replace
from typing import Any

import pytest

from bench.machine.doctor import capabilities, report, require
from bench.machine.facts import ONNX_RUNTIME_FOR_CPU, PACKAGES, Answer, Facts
from export.common.errors import BadInput, NotPossible
from export.runtime.gpu import Gpu, Jetson
from export.runtime.openvino import SATURATES

GIB = 1 << 30
NO_DRIVER: Answer[Any] = Answer(None, "there is no NVIDIA driver")
PLAIN = Facts(
    python="3.11.7",
    system="Linux x86_64",
    packages={**dict.fromkeys(PACKAGES, "1.0"), "onnxruntime": "1.31.1", "tensorrt": None},
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
    driver_cuda=NO_DRIVER,
    onnxruntime_cuda=Answer("13.0"),
    libnvinfer=Answer("10"),
    tensorrt_cuda=Answer(None, "no package tensorrt-cu…"),
    tensorrt_rtx_cuda=Answer("13"),
)
WITH_GPU = replace(
    PLAIN,
    packages=PLAIN.packages | {"tensorrt": "10.16.1.11"},
    torch_cuda=Answer("13.0"),
    driver_cuda=Answer("13.0"),
    tensorrt_cuda=Answer("13"),
    gpus=Answer((Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 * GIB, 128),)),
    driver=Answer("580.65.06"),
    cuda_session=Answer("CUDAExecutionProvider"),
)
ORIN = replace(
    WITH_GPU,
    system="Linux aarch64",
    packages=WITH_GPU.packages | {"tensorrt": "10.3.0", "tensorrt-rtx": None},
    driver_cuda=Answer("12.6"),
    torch_cuda=Answer("12.6"),
    onnxruntime_cuda=Answer(None, ONNX_RUNTIME_FOR_CPU),
    tensorrt_cuda=Answer(None, "no package tensorrt-cu…"),
    tensorrt_rtx_cuda=Answer(None, "no package tensorrt-rtx-cu…"),
    features=Answer(("NEON", "NEON FP16", "NEON dot product")),
    gpus=Answer((Gpu("Orin", "8.7", 32 * GIB, 16),)),
    jetson=Answer(Jetson("NVIDIA Jetson AGX Orin", "36.4.0")),
)


def with_onnx_runtime(version: str) -> dict[str, Any]:
    return {"packages": WITH_GPU.packages | {"onnxruntime": version}}


def available(facts: Facts) -> dict[str, str]:
    return {capability.name: capability.available for capability in capabilities(facts)}


def reason(facts: Facts, name: str) -> str:
    return next(capability.reason for capability in capabilities(facts) if capability.name == name)


def test_a_machine_without_a_gpu() -> None:
    answers = available(PLAIN)
    assert [name for name, answer in answers.items() if answer == "no"] == [
        "build-tensorrt",
        "run-onnxruntime-bf16",
        "run-pytorch-cuda",
        "run-onnxruntime-cuda",
        "run-onnxruntime-tensorrt",
        "run-tensorrt",
        "run-tensorrt-rtx",
        "run-bf16-gpu",
    ]
    assert set(answers.values()) == {"yes", "no"}
    assert "AVX-512 VNNI" in reason(PLAIN, "run-onnxruntime-int8")


def test_a_gpu_opens_what_needs_one() -> None:
    assert [name for name, answer in available(WITH_GPU).items() if answer != "yes"] == ["run-onnxruntime-bf16"]
    assert "RTX 4090 (8.9)" in reason(WITH_GPU, "run-tensorrt")


def test_a_jetson_runs_tensorrt_and_not_rtx() -> None:
    answers = available(ORIN)
    assert (answers["build-tensorrt"], answers["run-tensorrt"]) == ("yes", "yes")
    assert (answers["build-tensorrt-rtx"], answers["run-tensorrt-rtx"]) == ("no", "no")


@pytest.mark.parametrize(
    ("change", "name", "answer", "text"),
    [
        ({"gpus": Answer((Gpu("NVIDIA H100", "9.0", 80 * GIB, 132),))}, "run-tensorrt-rtx", "no", "9.0 (NVIDIA H100)"),
        ({"torch_cuda": Answer(None, "torch is built for the CPU only")}, "run-tensorrt", "yes", "RTX 4090"),
        ({"cuda_session": Answer("CPUExecutionProvider")}, "run-onnxruntime-cuda", "no", "fell back to CPUExec"),
        ({"gpus": Answer(())}, "run-onnxruntime-cuda", "no", "sees no GPU"),
        ({"features": Answer(("AVX2",))}, "run-onnxruntime-int8", "yes", "seldom faster"),
        ({"features": Answer(("AVX2",))}, "run-openvino-int8", "no", SATURATES),
        ({"features": Answer(None, "no such file")}, "run-openvino-int8", "unknown", "no such file"),
        ({"system": "Linux aarch64"}, "run-openvino-int8", "unknown", "not tried"),
        ({"features": Answer(("AVX2",))}, "run-openvino-bf16", "yes", "computed in FP32"),
        ({"memory": Answer((16 * GIB, GIB))}, "room", "no", "1.0 GiB of memory"),
        ({"memory": Answer(None, "not Linux")}, "room", "unknown", "not Linux"),
        ({"packages": dict.fromkeys(PACKAGES)}, "export", "no", "torch, onnx, onnxscript, onnxruntime"),
        (with_onnx_runtime("1.29.0"), "run-onnxruntime-int8", "no", "onnxruntime 1.29.0 computes INT8 files wrongly"),
        (with_onnx_runtime("1.30.0"), "run-onnxruntime-int8", "yes", "with AVX-512 VNNI"),
    ],
)
def test_each_lack_has_its_reason(change: dict[str, Any], name: str, answer: str, text: str) -> None:
    changed = replace(WITH_GPU, **change)
    assert available(changed)[name] == answer
    assert text in reason(changed, name)


def test_every_no_has_advice() -> None:
    nothing = replace(PLAIN, packages=dict.fromkeys(PACKAGES), disk=Answer(0))
    refused = [capability for capability in capabilities(nothing) if capability.available != "yes"]
    assert all(capability.advice for capability in refused)


def test_require() -> None:
    found = capabilities(PLAIN)
    require(found, ["export", "build-tensorrt-rtx"])
    with pytest.raises(NotPossible, match="no: tensorrt is not installed"):
        require(found, ["export", "run-tensorrt"])
    with pytest.raises(BadInput, match="give one of export, room"):
        require(found, ["flying"])
    with pytest.raises(NotPossible, match="unknown: not Linux"):
        require(capabilities(replace(PLAIN, memory=Answer(None, "not Linux"))), ["room"])


def test_the_report_keeps_its_keys() -> None:
    document = report(PLAIN)
    assert document.keys() == {"schema_version", "facts", "capabilities"}
    assert all(row.keys() == {"name", "about", "available", "why", "do"} for row in document["capabilities"])
