"""The proof of an INT8 file finds every planted defect."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.common.errors import CheckFailed
from export.model.network import ConvNeXtPose
from export.plan import quantize
from export.plan.int8_proof import prove_int8
from export.plan.planned import Int8Weights, PlannedWeights, planned_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.quantize import export_int8, insert_int8


def with_float_input(model: onnx.ModelProto) -> None:
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and n.input[0].endswith(".input"))
    conv.input[0] = next(
        n for n in model.graph.node if n.output[0] == conv.input[0].replace(".input", ".input_int8")
    ).input[0]


def with_array(suffix: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[onnx.ModelProto], None]:
    def plant(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name.endswith(suffix))
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))

    return plant


def one_step_more(values: NDArray[Any]) -> NDArray[Any]:
    """Change one value by one step."""
    values.flat[0] += 1 if values.flat[0] < 127 else -1
    return values


def with_another_scale(model: onnx.ModelProto) -> None:
    """Dequantize with another scale than the values were quantized with."""
    node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0].endswith("input_int8"))
    tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
    model.graph.initializer.append(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), "another"))
    node.input[1] = "another"


def with_another_axis(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if n.name.endswith("/DequantizeLinear_weight"))
    node.attribute[0].i = 1


def with_unquantized_input(model: onnx.ModelProto) -> None:
    """Dequantize a value that no node quantizes."""
    next(n for n in model.graph.node if n.name.endswith("/DequantizeLinear")).input[0] = "another"


def with_quantized_output(model: onnx.ModelProto) -> None:
    """Quantize the logits."""
    final = next(n for n in model.graph.node if n.name == "head.final_layer/Conv")
    (output,) = final.output
    names = [tensor.name for tensor in model.graph.initializer]
    constants = [next(n for n in names if n.endswith(end)) for end in (".input_scale", ".input_zero_point")]
    for node in model.graph.node:
        node.input[:] = ["through" if name == output else name for name in node.input]
    model.graph.node.extend(
        [
            onnx.helper.make_node("QuantizeLinear", [output, *constants], ["rounded"], "extra/Q"),
            onnx.helper.make_node("DequantizeLinear", ["rounded", *constants], ["through"], "extra/DQ"),
        ]
    )


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (with_float_input, "does not have both its input and its weights in int8"),
        (with_array(".input_scale", lambda a: -a), "does not have the plan's scale"),
        (with_array(".input_scale", lambda a: a * np.nan), "does not have the plan's scale"),
        (with_array(".input_scale", lambda a: a * 40), "does not have the plan's scale"),
        (with_array(".weight.scales", lambda a: a * 3), "multiplied out, are not the planned ones"),
        (with_array(".weight.scales", lambda a: -a), "a scale of the weights of .* is none in float16"),
        (with_array(".weight.scales", lambda a: a * np.float16(np.inf)), "a scale of the weights of .* is none"),
        (with_array(".weight.scales", lambda a: a[0]), "do not have one scale per channel"),
        (with_array(".weight.scales", lambda a: a.astype(np.float32)), "do not have one scale per channel"),
        (with_array(".weight.int8", np.zeros_like), "multiplied out, are not the planned ones"),
        (with_array(".weight.int8", lambda a: a[::-1].copy()), "multiplied out, are not the planned ones"),
        (with_array(".weight.int8", one_step_more), "multiplied out, are not the planned ones"),
        (with_array(".weight.int8", lambda a: a[:, :1].copy()), "have another shape or type"),
        (with_array(".weight.int8", lambda a: a.astype(np.int16)), "have another shape or type"),
        (with_array(".input_zero_point", lambda a: a + 3), "not symmetric"),
        (with_array(".input_zero_point", lambda a: a.astype(np.uint8)), "not symmetric"),
        (with_array("head.deconv_layers_1.dwconv.weight", lambda a: a * 1.01), "constants are not the FP16 graph's"),
        (with_another_axis, "are not scaled by output channel"),
        (with_unquantized_input, "is dequantized, but never quantized"),
        (with_another_scale, "DequantizeLinear of .* does not have the plan's scale"),
        (with_quantized_output, "is not the FP16 graph's|quantizes elsewhere"),
        (lambda model: setattr(model.metadata_props.add(), "key", "another"), "metadata are not the FP16 graph's"),
    ],
)
def test_planted_defects_are_found(
    int8_file: Path, fp16_file: Path, plan: PrecisionPlan, plant: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model, before = onnx.load(int8_file), onnx.load(fp16_file)
    prove_int8(model, before, plan)
    plant(model)
    with pytest.raises(CheckFailed, match=message):
        prove_int8(model, before, plan)


def test_a_convolution_against_the_plan_is_found(int8_file: Path, fp16_file: Path, plan: PrecisionPlan) -> None:
    fewer = plan.raise_precision([plan.quantized[0].name], "a test")
    with pytest.raises(CheckFailed, match=plan.quantized[0].name):
        prove_int8(onnx.load(int8_file), onnx.load(fp16_file), fewer)


@pytest.mark.parametrize("scale", [1e-9, 1e6, float("inf")])
def test_a_scale_beyond_float16_is_refused(
    fp16_file: Path, plan: PrecisionPlan, weights: PlannedWeights, scale: float
) -> None:
    """In float16 it is 0 or infinite, both in the file and in the expected constant."""
    first = plan.quantized[0].name
    odd = replace(plan, convs=tuple(replace(c, input_scale=scale) if c.name == first else c for c in plan.convs))
    model = onnx.load(fp16_file)
    with np.errstate(over="ignore"):
        insert_int8(model, odd, weights.int8)
        with pytest.raises(CheckFailed, match=f"{first}.* is none in float16"):
            prove_int8(model, onnx.load(fp16_file), odd)


def test_an_export_proves_its_file(
    tmp_path: Path, network: ConvNeXtPose, plan: PrecisionPlan, weights: PlannedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert_wrongly(model: onnx.ModelProto, plan: PrecisionPlan, weights: Mapping[str, Int8Weights]) -> None:
        insert_int8(model, plan, weights)
        with_array(".weight.int8", np.zeros_like)(model)

    monkeypatch.setattr(quantize, "insert_int8", insert_wrongly)
    with pytest.raises(CheckFailed, match="multiplied out, are not the planned ones"):
        export_int8(planned_graph(network, plan, weights), tmp_path / "int8.onnx", {}, plan, weights.int8)
