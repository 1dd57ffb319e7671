"""What the parsed network says of its precision, on the real parser of TensorRT-RTX; every promise is broken once."""

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from export.common.errors import BadInput, CheckFailed, Failure
from export.common.interface import FP32_CONVOLUTIONS
from export.engine import choice as engine_runtime
from export.engine.build import build_engine
from export.engine.onnx_checks import planned_fp32
from export.engine.plan import EnginePlan
from export.runtime.engine_network import Convolutions, check_layers
from tests.support.small_networks import FLOAT, HALF, cast, half_network, int8_network, model, product_network

pytestmark = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")


@pytest.fixture(autouse=True)
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX even where TensorRT is installed as well."""
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))


def test_a_convolution_in_int8_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(int8_network())
    record = build_engine(path, tmp_path / "e", EnginePlan(precision="int8"))
    assert (record.precision, record.convolutions) == ("int8", Convolutions(1, 1))


@pytest.mark.parametrize(
    ("content", "precision", "kind", "said"),
    [
        pytest.param(
            int8_network(activation=False, weight=False, elsewhere=True),
            "int8",
            CheckFailed,
            "of 1 convolutions none has both",
            id="int8 elsewhere",
        ),
        pytest.param(int8_network(activation=False), "int8", CheckFailed, "none has both", id="int8 weights only"),
        pytest.param(
            int8_network(around=FLOAT), "int8", CheckFailed, "1 FLOAT — int8 here has FP16 around it", id="FP32 around"
        ),
        pytest.param(
            product_network(conv=True, product=FLOAT),
            "fp16",
            CheckFailed,
            "says fp16 and has MATRIX_MULTIPLY layers that are not HALF — 1 FLOAT",
            id="product in FP32",
        ),
        pytest.param(half_network(), "int8", BadInput, "fp16, not int8", id="half"),
        pytest.param(
            product_network(conv=False, product=HALF), "fp16", BadInput, "no convolution", id="only a product"
        ),
        pytest.param(
            model([cast("image", "joints", FLOAT)], {}, opset=18, out=3), "fp32", BadInput, "no conv", id="none"
        ),
    ],
)
def test_a_promise_that_is_not_kept(
    tmp_path: Path, content: bytes, precision: str, kind: type[Failure], said: str
) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    with pytest.raises(kind, match=said):
        build_engine(path, tmp_path / "e", EnginePlan(precision=precision))
    assert not (tmp_path / "e").exists()


def test_a_product_of_the_body_s_type_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(product_network(conv=True, product=HALF))
    assert build_engine(path, tmp_path / "e", EnginePlan(precision="fp16")).layer_types["MATRIX_MULTIPLY"] == {
        "HALF": 1
    }


def test_fp8_is_not_called_int8() -> None:
    """TensorRT quantises to other types by the same layers."""
    types = {"CONVOLUTION": {"HALF": 2}, "QUANTIZE": {"FP8": 1}, "DEQUANTIZE": {"HALF": 2}}
    with pytest.raises(CheckFailed, match="1 FP8"):
        check_layers(types, Convolutions(2, 1), "file.onnx", "int8")


def test_a_text_that_happens_to_parse_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "note.onnx"
    path.write_text("\n")
    with pytest.raises(BadInput) as caught:
        build_engine(path, tmp_path / "e", EnginePlan())
    assert "inputs , outputs" not in str(caught.value)


@pytest.mark.parametrize("text", ["no JSON", "7", '{"a": 1}', "[" * 100_000])
def test_metadata_that_are_no_list_of_convolutions_are_refused(text: str) -> None:
    model = onnx.ModelProto()
    model.metadata_props.add(key=FP32_CONVOLUTIONS, value=text)
    with pytest.raises(BadInput, match=FP32_CONVOLUTIONS):
        planned_fp32(model.SerializeToString())


def test_a_file_without_such_metadata_keeps_nothing_in_fp32() -> None:
    assert planned_fp32(onnx.ModelProto().SerializeToString()) == 0
