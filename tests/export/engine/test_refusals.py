"""Models and paths that no engine is built from, on the real parser of TensorRT-RTX."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from export.common.errors import BadInput, CheckFailed, Failure
from export.common.interface import FP32_CONVOLUTIONS
from export.engine import build as engine
from export.engine.build import build_engine
from export.engine.onnx_checks import planned_fp32
from export.engine.plan import EnginePlan
from export.runtime.engine_network import Convolutions, check_layers
from tests.support.small_networks import (
    FLOAT,
    HALF,
    HALF_INSIDE,
    cast,
    half_network,
    int8_network,
    model,
    network,
    product_network,
)

RELU_UNKNOWN = (
    helper.make_node("Foo", ["features"], ["x"], "first_bad"),
    helper.make_node("Bar", ["x"], ["joints"], "second_bad", domain="nowhere"),
)

MIXED = (
    cast("features", "half", HALF),
    helper.make_node("Add", ["features", "half"], ["joints"], "add"),
)

DOUBLE = TensorProto.DOUBLE
FP16, INT8 = {"precision": "fp16"}, {"precision": "int8"}


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize(
    ("content", "plan", "kind", "messages"),
    [
        pytest.param(b"", {}, BadInput, ["empty"], id="empty file"),
        pytest.param(b"\n", {}, BadInput, ["no ONNX model"], id="a line feed"),
        pytest.param(ModelProto(ir_version=8).SerializeToString(), {}, BadInput, ["holds no network"], id="no graph"),
        pytest.param(b"garbage" * 99, {}, BadInput, ["MODEL_DESERIALIZE_FAILED", "no ONNX model"], id="garbage"),
        pytest.param(network()[:500], {}, BadInput, ["MODEL_DESERIALIZE_FAILED", "cut off"], id="truncated"),
        pytest.param(
            network(*RELU_UNKNOWN),
            {},
            BadInput,
            ["node 1 'first_bad' (Foo)", "node 2 'second_bad' (Bar)", "correct the nodes"],
            id="unknown",
        ),
        pytest.param(network(name="input"), {}, BadInput, ["inputs input, outputs joints"], id="input's name"),
        pytest.param(network(batch=1), {}, BadInput, ["fixed", "(1, 1, 8)"], id="fixed batch"),
        pytest.param(network(kind=DOUBLE, out_kind=DOUBLE), {}, BadInput, ["image is DOUBLE"], id="float64 input"),
        pytest.param(network(*MIXED), {}, BadInput, ["node 2 'add' (Add)", "Float and Half"], id="mixed types"),
        pytest.param(network(*HALF_INSIDE), {}, BadInput, ["fp16, not fp32"], id="another precision"),
        pytest.param(half_network(), INT8, BadInput, ["fp16, not int8"], id="half in place of int8"),
        pytest.param(half_network(conv=FLOAT), FP16, CheckFailed, ["CONVOLUTION", "1 FLOAT"], id="FP32 convolution"),
        pytest.param(half_network(softmax=HALF), FP16, CheckFailed, ["SOFTMAX", "1 HALF"], id="half softmax"),
        pytest.param(
            product_network(conv=True, product=HALF), FP16, CheckFailed, ["MATRIX_MULTIPLY", "1 HALF"], id="product"
        ),
        pytest.param(
            product_network(conv=False, product=HALF), FP16, BadInput, ["no convolution"], id="only a product"
        ),
        pytest.param(
            model([cast("image", "joints", FLOAT)], {}, opset=18, out=3), {}, BadInput, ["no conv"], id="only a cast"
        ),
        pytest.param(
            int8_network(activation=False, weight=False, elsewhere=True),
            INT8,
            CheckFailed,
            ["of 1 convolutions none has both"],
            id="int8 elsewhere",
        ),
        pytest.param(int8_network(activation=False), INT8, CheckFailed, ["none has both"], id="int8 weights only"),
        pytest.param(int8_network(around=FLOAT), INT8, CheckFailed, ["1 FLOAT", "FP16 around it"], id="FP32 around"),
        pytest.param(network(), {"workspace_bytes": 1024}, BadInput, ["1024 bytes of workspace"], id="workspace"),
    ],
)
def test_models_that_cannot_be_built(
    tmp_path: Path, content: bytes, plan: dict[str, Any], kind: type[Failure], messages: list[str]
) -> None:
    source, path = tmp_path / "bad.onnx", tmp_path / "bad.engine"
    source.write_bytes(content)
    with pytest.raises(kind) as caught:
        build_engine(source, path, EnginePlan(**plan))
    assert all(words in str(caught.value) for words in messages), str(caught.value)
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
    monkeypatch.setattr(engine, "WORKER", ("/nonexistent",))  # no worker starts
    for source, path in [
        (tmp_path / "absent.onnx", tmp_path / "e"),
        (tiny, tiny),
        (tiny, tmp_path),
        (tiny, tiny / "below a file" / "e"),
    ]:
        with pytest.raises(BadInput):
            build_engine(source, path, EnginePlan())
    assert tiny.read_bytes() == network()


def test_fp8_is_not_int8() -> None:
    """TensorRT quantises to other types with the same layers."""
    types = {"CONVOLUTION": {"HALF": 2}, "QUANTIZE": {"FP8": 1}, "DEQUANTIZE": {"HALF": 2}}
    with pytest.raises(CheckFailed, match="1 FP8"):
        check_layers(types, Convolutions(2, 1), "file.onnx", "int8")


@pytest.mark.parametrize(
    ("kind", "wrong"), [("REDUCE", "HALF"), ("SOFTMAX", "HALF"), ("EINSUM", "FLOAT"), ("DECONVOLUTION", "FLOAT")]
)
def test_every_kind_of_layer_has_the_type_of_its_place(kind: str, wrong: str) -> None:
    with pytest.raises(CheckFailed, match=f"{kind} layers"):
        check_layers({"CONVOLUTION": {"HALF": 2}, kind: {wrong: 1}}, Convolutions(2, 0), "file.onnx", "fp16")


@pytest.mark.parametrize("text", ["no JSON", "7", '{"a": 1}', "[" * 100_000])
def test_metadata_without_a_list_of_convolutions(text: str) -> None:
    assert planned_fp32(ModelProto().SerializeToString()) == 0
    model = ModelProto()
    model.metadata_props.add(key=FP32_CONVOLUTIONS, value=text)
    with pytest.raises(BadInput, match=FP32_CONVOLUTIONS):
        planned_fp32(model.SerializeToString())
