"""Engines that TensorRT-RTX really builds, without a GPU; TensorRT itself needs one."""

from pathlib import Path

import pytest

from export.common.errors import BadInput
from export.common.files import sha256_file
from export.engine import build as engine
from export.engine.build import build_engine
from export.engine.plan import DEFAULT_RTX_TARGETS, EnginePlan
from export.engine.record import Profile, read_engine_record
from export.runtime import gpu as nvidia
from export.runtime.engine_network import Convolutions
from tests.support.planted_worker import plant, setting
from tests.support.small_networks import FLOAT, half_network, int8_network, product_network


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_an_engine_its_log_and_its_record(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # the worker is found from any folder
    phases: list[str] = []
    path = tmp_path / "new" / "tiny.rtx.engine"
    record = build_engine(tiny, path, EnginePlan(), lambda text, share=None: phases.append(text))

    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".json", path.name + ".log"]
    assert record.status == "built for SM 8.0, 8.6, 8.9, 12.0; not run"
    assert (record.runtime, record.precision, record.gpu) == ("tensorrt_rtx", "fp32", None)
    assert record.chosen == "tensorrt is not installed; tensorrt_rtx is installed"
    assert record.convolutions == Convolutions(1, 0, 1)
    if nvidia.default_gpu()[0] is None:
        assert record.not_run
        assert record.not_inspected == f"no GPU loads it here: {record.not_run}"
    assert record.targets == DEFAULT_RTX_TARGETS
    assert record.profile == Profile("image", (1, 3, 32, 32), (1, 3, 32, 32), (8, 3, 32, 32))
    assert record.size_bytes == path.stat().st_size
    assert record.package_version.startswith(".".join(record.plan_version.split(".")[:3]))
    assert record.onnx_sha256 == sha256_file(tiny)
    assert record.engine_sha256 == sha256_file(path)
    assert 0 < record.build_seconds < 60
    assert "INFO Engine generation completed" in (tmp_path / "new" / "tiny.rtx.engine.log").read_text()
    assert read_engine_record(tmp_path / "new" / "tiny.rtx.engine.json") == record

    assert phases == ["loading TensorRT-RTX", "building", record.status]


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_recorded_as_the_builder_has_it(tiny: Path, tmp_path: Path, tf32: bool) -> None:
    record = build_engine(tiny, tmp_path / "e", EnginePlan(tf32=tf32, targets=("12.0",), batch_opt=4))
    assert record.tf32 is tf32
    assert record.status == "built for SM 12.0; not run"
    assert record.profile.opt == (4, 3, 32, 32)


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
    assert record.layer_types["MATRIX_MULTIPLY"] == {"FLOAT": 2}
    assert record.layer_types.get("CAST", {}).get(kind, 0) == (precision != "fp32")


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("content", "precision", "layers", "convolutions"),
    [
        (int8_network(), "int8", {}, Convolutions(1, 1)),
        (product_network(conv=True, product=FLOAT), "fp16", {"MATRIX_MULTIPLY": {"FLOAT": 1}}, Convolutions(1, 0)),
    ],
)
def test_int8_convolutions_and_products_are_counted(
    tmp_path: Path, content: bytes, precision: str, layers: dict[str, dict[str, int]], convolutions: Convolutions
) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    record = build_engine(path, tmp_path / "e", EnginePlan(precision=precision))
    assert (record.precision, record.convolutions) == (precision, convolutions)
    assert layers.items() <= record.layer_types.items()


@pytest.mark.usefixtures("rtx")
def test_turing_has_fp16_but_no_bf16(tmp_path: Path) -> None:
    path, turing = tmp_path / "half.onnx", ("7.5",)
    path.write_bytes(half_network())
    assert build_engine(path, tmp_path / "e", EnginePlan(precision="fp16", targets=turing)).targets == turing
    with pytest.raises(BadInput, match=r"no bf16 — 7\.5"):
        EnginePlan(precision="bf16", targets=("8.6", *turing))


@pytest.mark.usefixtures("rtx")
def test_warnings_are_recorded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = setting("config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS")
    monkeypatch.setattr(engine, "WORKER", plant(code))
    [warning] = build_engine(tiny, tmp_path / "e", EnginePlan()).warnings
    assert "unsupported" in warning
    assert f"WARNING {warning}" in (tmp_path / "e.log").read_text().splitlines()
