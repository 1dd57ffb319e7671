"""The ONNX file: interface, metadata, weights once each, and refusals of damaged files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.common.errors import CheckFailed
from export.common.files import PROJECT
from export.graph.deploy import deploy
from export.graph.onnx_graph import check_onnx, consumer_metadata, export_onnx, read_metadata
from export.graph.onnx_record import OnnxRecord
from export.graph.type_proof import OPSETS
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.parity.sessions import run_batches
from export.runtime.onnx_runtime import OnnxRuntimeSession
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, alive_weights

TINY_3UP = Architecture(TINY.depths, TINY.dims, TINY.head_channels, (3, 5, 7), 21, 64, upsamplings=3)


@pytest.fixture(scope="module")
def network() -> ConvNeXtPose:
    return deploy(build_network(TINY_3UP, alive_weights(TINY_3UP)))


@pytest.fixture(scope="module")
def written(network: ConvNeXtPose, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OnnxRecord]:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    metadata = consumer_metadata(TINY_3UP, precision="fp32", model="tiny", weights_sha256="0" * 64)
    return path, export_onnx(network, path, metadata)


def test_interface_and_opset(written: tuple[Path, OnnxRecord]) -> None:
    path, record = written
    assert [(t.name, t.dtype, t.shape) for t in record.inputs] == [("image", "float32", ("batch", 3, 256, 256))]
    assert [(t.name, t.dtype, t.shape) for t in record.outputs] == [("joints", "float32", ("batch", 21, 3))]
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSETS["fp32"])]
    assert model.ir_version == record.ir_version == helper.find_min_ir_version_for(model.opset_import)


def test_the_rewritings_are_in_the_graph(written: tuple[Path, OnnxRecord]) -> None:
    path, record = written
    assert record.nodes["BatchNormalization"] == 1
    assert record.nodes["Softmax"] == 1
    decode = [n.op_type for n in onnx.load(path).graph.node if n.name.startswith("decode/") and n.op_type != "Reshape"]
    assert decode == ["MatMul", "MatMul", "Softmax", "MatMul", "MatMul", "Gather"]


def test_metadata_is_what_a_consumer_needs(written: tuple[Path, OnnxRecord]) -> None:
    about = read_metadata(written[0])
    assert about["joint_names"][0] == "Head_top"
    assert len(about["joint_names"]) == 21
    assert [17, 18] in about["mirror_pairs"]
    assert [0, 16] in about["bones"]
    assert (about["heatmap_size"], about["depth_dim"], about["input_size"]) == (64, 64, 256)
    assert about["mean"] == [0.485, 0.456, 0.406]
    assert about["std"] == [0.229, 0.224, 0.225]
    assert about["pixel_range"] == [0, 255]
    assert about["cube_mm"] == 2000
    texts = {p.key: p.value for p in onnx.load(written[0]).metadata_props}
    assert texts["weights_sha256"] == "0" * 64


def test_nothing_of_this_machine_is_in_the_file(written: tuple[Path, OnnxRecord]) -> None:
    content = written[0].read_bytes()
    for trace in (str(PROJECT), "stack_trace", ".py"):
        assert trace.encode() not in content


def test_the_same_network_gives_the_same_bytes(
    network: ConvNeXtPose, written: tuple[Path, OnnxRecord], tmp_path: Path
) -> None:
    metadata = consumer_metadata(TINY_3UP, precision="fp32", model="tiny", weights_sha256="0" * 64)
    export_onnx(network, tmp_path / "again.onnx", metadata)
    assert (tmp_path / "again.onnx").read_bytes() == written[0].read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_any_batch_runs_and_every_image_is_computed_by_itself(written: tuple[Path, OnnxRecord], batch: int) -> None:
    rng = np.random.default_rng(0)
    pixels = normalise(rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8))
    joints = run_batches(OnnxRuntimeSession(written[0], "fp32"), pixels, batch)
    assert joints.shape == (3, 21, 3)
    np.testing.assert_allclose(joints, run_batches(OnnxRuntimeSession(written[0], "fp32"), pixels, 1), atol=1e-3)


def damaged(source: Path, target: Path, defect: str) -> Path:
    model = onnx.load(source)
    graph = model.graph
    if defect == "initializer twice":
        again = onnx.TensorProto()
        again.CopyFrom(graph.initializer[0])
        again.name = "again"
        graph.initializer.append(again)
        graph.node.append(helper.make_node("Identity", ["again"], ["unused"]))
    elif defect == "weight missing":
        kept = [i for i in graph.initializer if i.name != "head.final_layer.bias"]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        conv = next(n for n in graph.node if "head.final_layer.bias" in n.input)
        del conv.input[2]
    elif defect == "output renamed":
        graph.node[-1].output[0] = graph.output[0].name = "pose"
    elif defect == "batch fixed":
        graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    elif defect == "half-precision input":
        graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    else:
        graph.node[5].input[0] = "nowhere"
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize(
    "defect",
    ["initializer twice", "weight missing", "output renamed", "batch fixed", "half-precision input", "dangling input"],
)
def test_a_damaged_file_is_refused(
    network: ConvNeXtPose, written: tuple[Path, OnnxRecord], tmp_path: Path, defect: str
) -> None:
    with pytest.raises(CheckFailed) as error:
        check_onnx(damaged(written[0], tmp_path / "damaged.onnx", defect), network)
    assert error.value.exit_code == 1


def test_bytes_that_are_no_model_are_refused(network: ConvNeXtPose, tmp_path: Path) -> None:
    for content in (b"", b"<html>", b"\x08\x08garbage" * 20):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(CheckFailed):
            check_onnx(tmp_path / "broken.onnx", network)


def test_layers_that_share_their_weights_are_stored_once(tmp_path: Path) -> None:
    weights = alive_weights()
    for name in list(weights):
        if name.startswith("backbone.stages.2.1."):
            weights[name] = weights[name.replace("stages.2.1", "stages.2.0")].clone()
    export_onnx(deploy(build_network(TINY, weights)), tmp_path / "tied.onnx", {})
    stored = {i.name for i in onnx.load(tmp_path / "tied.onnx").graph.initializer}
    assert len(stored & {f"backbone.stages.2.{j}.pwconv1.weight" for j in (0, 1)}) == 1
