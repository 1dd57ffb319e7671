"""The type proof finds every planted defect and names the node."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.common.errors import CheckFailed
from export.graph.onnx_graph import check_onnx, export_onnx
from export.graph.precision import in_precision
from export.graph.type_proof import prove_types
from export.model.network import ConvNeXtPose, build_network
from tests.support.checkpoints import TINY, alive_weights
from tests.support.small_networks import half_network

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
NUMPY = {"fp16": "float16", "bf16": "bfloat16"}


@pytest.fixture(scope="module")
def networks() -> dict[str, ConvNeXtPose]:
    reference = build_network(TINY, alive_weights())
    return {precision: in_precision(reference, precision) for precision in NUMPY}


def node(model: ModelProto, operator: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if node.op_type == operator)
    return found


def compute_in(model: ModelProto, of: NodeProto, kind: int, back: int) -> None:
    """Put casts around one node, so that it computes in another type and all else stays valid."""
    nodes = list(model.graph.node)
    where = nodes.index(of)
    before = []
    for index, name in enumerate(of.input):
        before.append(helper.make_node("Cast", [name], [f"{name}/in"], to=kind))
        of.input[index] = f"{name}/in"
    after = helper.make_node("Cast", [f"{of.output[0]}/out"], [of.output[0]], to=back)
    of.output[0] = f"{of.output[0]}/out"
    nodes[where : where + 1] = [*before, of, after]
    copies = [NodeProto.FromString(made.SerializeToString()) for made in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    del model.graph.value_info[:]


def cast_earlier(model: ModelProto) -> None:
    """Pixels are recovered in half precision."""
    cast = next(n for n in model.graph.node if n.op_type == "Cast")
    multiply = node(model, "Mul")
    for index, name in enumerate(multiply.input):
        multiply.input[index] = f"{name}/half"
        model.graph.node.insert(0, helper.make_node("Cast", [name], [f"{name}/half"], to=HALF))
    offset = next(n for n in model.graph.node if n.op_type == "Add")
    model.graph.node.insert(0, helper.make_node("Cast", [offset.input[1]], [f"{offset.input[1]}/half"], to=HALF))
    offset.input[1] = f"{offset.input[1]}/half"
    cast.op_type = "Identity"
    del cast.attribute[:]
    del model.graph.value_info[:]


def double_bins(model: ModelProto) -> None:
    compute_in(model, [n for n in model.graph.node if n.op_type == "MatMul"][-1], TensorProto.DOUBLE, FLOAT)


def store_in_float(model: ModelProto) -> None:
    """Weights are stored in FP32 and cast where they are used."""
    for stored in [i for i in model.graph.initializer if i.data_type == HALF]:
        array = numpy_helper.to_array(stored).astype(np.float32)
        model.graph.node.insert(0, helper.make_node("Cast", [f"{stored.name}/stored"], [stored.name], to=HALF))
        stored.CopyFrom(numpy_helper.from_array(array, f"{stored.name}/stored"))


def add_ballast(model: ModelProto) -> None:
    count = sum(np.prod(i.dims) for i in model.graph.initializer)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(int(count), np.float32), "ballast"))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda m: compute_in(m, node(m, "Softmax"), HALF, FLOAT), r"decode/Softmax \(Softmax\) is not float32"),
        (lambda m: compute_in(m, node(m, "MatMul"), HALF, FLOAT), r"decode/MatMul \(MatMul\) is not float32"),
        (lambda m: compute_in(m, node(m, "Conv"), FLOAT, HALF), r"layers\.0\.0/Conv \(Conv\) is not float16"),
        (lambda m: compute_in(m, node(m, "Relu"), FLOAT, HALF), "type changes differ from the plan"),
        (cast_earlier, "type changes differ from the plan"),
        (double_bins, r"\(Cast\) has a type of another precision — float32, float64"),
        (store_in_float, "type changes differ from the plan"),
        (add_ballast, "weights take more than 0.55"),
    ],
    ids=[
        "Softmax in half",
        "MatMul in half",
        "Conv in float",
        "Relu in float",
        "cast too early",
        "a double",
        "weights in float",
        "float ballast",
    ],
)
def test_planted_defects_are_named(
    typed_files: dict[str, Path], plant: Callable[[ModelProto], None], said: str
) -> None:
    model = onnx.load(typed_files["fp16"])
    prove_types(model, "fp16")
    plant(model)
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(CheckFailed, match=said):
        prove_types(model, "fp16")


def test_a_file_without_the_products_of_the_decode_is_refused() -> None:
    with pytest.raises(CheckFailed, match="lacks a convolution or the decode"):
        prove_types(onnx.load_from_string(half_network()), "fp16")


# ── a plan that keeps segments in FP32 ───────────────────────────────────────────────────────────────────────────────

BLOCK = "backbone.stages.2.0"
KEPT = [f"{BLOCK}.{part}" for part in ("dwconv", "pwconv1", "pwconv2")]


@pytest.fixture(scope="module")
def planned_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network in FP16 with a block in FP32; tests must leave the file as it is."""
    path = tmp_path_factory.mktemp("planned") / "fp16.onnx"
    graph = in_precision(build_network(TINY, alive_weights()), "fp16", in_fp32=[BLOCK])
    export_onnx(graph, path, {}, "fp16", KEPT)
    return path


def conv(model: ModelProto, name: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if node.name == f"{name}/Conv")
    return found


def test_a_block_in_fp32_costs_two_casts(planned_file: Path) -> None:
    proof = prove_types(onnx.load(planned_file), "fp16", KEPT)
    assert proof.operators["Conv"] == {"float16": 23, "float32": 3}
    assert proof.casts == {"float32 → float16": 2, "float16 → float32": 2}
    assert proof.initializer_share < 0.51  # the block's own weights are not counted


def one_cast_too_many(model: ModelProto) -> None:
    """A value goes to FP32 and back, outside of the block."""
    compute_in(model, node(model, "Relu"), FLOAT, HALF)


def sum_in_half(model: ModelProto) -> None:
    """The residual sum of the block goes to FP16 and back."""
    compute_in(model, next(n for n in model.graph.node if n.name.startswith(f"{BLOCK}/Add")), HALF, FLOAT)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (one_cast_too_many, "type changes differ from the plan"),
        (sum_in_half, "type changes differ from the plan"),
        (lambda m: compute_in(m, conv(m, KEPT[1]), HALF, FLOAT), r"pwconv1/Conv \(Conv\) is not float32 throughout"),
        (
            lambda m: compute_in(m, conv(m, "backbone.stages.2.1.pwconv1"), FLOAT, HALF),
            r"stages\.2\.1\.pwconv1/Conv \(Conv\) is not float16 throughout",
        ),
    ],
)
def test_a_type_that_was_not_planned_is_named(
    planned_file: Path, plant: Callable[[ModelProto], None], said: str
) -> None:
    model = onnx.load(planned_file)
    plant(model)
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(CheckFailed, match=said):
        prove_types(model, "fp16", KEPT)


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        ([], r"stages\.2\.0\.dwconv/Conv \(Conv\) is not float16 throughout"),
        (KEPT[:2], r"stages\.2\.0\.pwconv2/Conv \(Conv\) is not float16 throughout"),
        ([*KEPT, "head.final_layer"], r"head\.final_layer/Conv \(Conv\) is not float32 throughout"),
    ],
)
def test_a_file_of_another_plan_is_refused(planned_file: Path, claimed: list[str], said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        prove_types(onnx.load(planned_file), "fp16", claimed)


@pytest.mark.parametrize(
    ("claimed", "said"),
    [(p, "type of another precision — float32, float16") for p in ("fp32", "bf16")] + [("int8", "quantizes nothing")],
)
def test_a_file_of_another_precision_is_refused(typed_files: dict[str, Path], claimed: str, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        prove_types(onnx.load(typed_files["fp16"]), claimed)


def test_a_value_of_unknown_type_is_refused(typed_files: dict[str, Path]) -> None:
    model = onnx.load(typed_files["fp16"])
    relu = node(model, "Relu")
    relu.op_type, relu.domain = "Unheard", "nowhere"
    model.opset_import.append(helper.make_opsetid("nowhere", 1))
    del model.graph.value_info[:]
    with pytest.raises(CheckFailed, match=f"the type of {relu.output[0]} is unknown"):
        prove_types(model, "fp16")


def test_a_weight_of_another_value_is_refused(
    networks: dict[str, ConvNeXtPose], typed_files: dict[str, Path], tmp_path: Path
) -> None:
    """By one unit in the last place, in the type in which it is stored."""
    for precision, path in ((p, typed_files[p]) for p in networks):
        model = onnx.load(path)
        stored = next(i for i in model.graph.initializer if i.name == "head.final_layer.weight")
        array = numpy_helper.to_array(stored).copy()
        array.view(np.uint16).flat[0] ^= 1
        stored.CopyFrom(numpy_helper.from_array(array, stored.name))
        damaged = tmp_path / path.name
        onnx.save(model, damaged)
        with pytest.raises(CheckFailed, match=r"head\.final_layer\.weight"):
            check_onnx(damaged, networks[precision], precision)
