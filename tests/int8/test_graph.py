"""The int8 graph: what TensorRT accepts, what is computed, and what its file says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.errors import CheckFailed
from export.fake_quant import simulate
from export.image_set import ImageSet
from export.int8_plan import Int8Plan
from export.network import ConvNeXtPose, build_network
from export.parity import millimetres
from export.pose import Volume, normalise
from export.precision import in_precision
from export.quantize import export_int8, insert_int8
from export.reference import run_reference
from export.runners import OnnxRuntime, run_batches
from tests.checkpoints import TINY, alive_weights


def test_the_graph_is_what_tensorrt_accepts(written: Path, plan: Int8Plan) -> None:
    graph = onnx.load(written).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    convs = {node.name.removesuffix("/Conv"): node for node in graph.node if node.op_type == "Conv"}
    for placed in plan.convs:
        node = convs[placed.name]
        sources = [made[name].op_type if name in made else "constant" for name in node.input]
        assert (sources[:2] == ["DequantizeLinear"] * 2) == placed.quantised, placed.name
        assert sources[2:] in (["constant"], [])
        if placed.quantised:
            weight = made[node.input[1]]
            assert arrays[weight.input[0]].dtype == np.int8
            assert arrays[weight.input[1]].shape == (arrays[weight.input[0]].shape[0],)
            activation = made[made[node.input[0]].input[0]]
            assert activation.op_type == "QuantizeLinear"
            assert arrays[activation.input[1]].shape == ()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = arrays[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    used = {name for node in graph.node for name in node.input}
    assert used >= arrays.keys()


def test_the_graph_computes_what_the_simulation_computes(
    written: Path, network: ConvNeXtPose, plan: Int8Plan, calibration: ImageSet
) -> None:
    """Up to values that lie between two steps, which float arithmetic rounds either way."""
    images = calibration.images[:8]
    volume = Volume.of(network.architecture)
    truth = run_reference(network, images, 4)
    simulated = run_reference(simulate(network, plan), images, 4)
    graph = run_batches(OnnxRuntime(written), normalise(images), 4)
    apart, drift = millimetres(simulated, graph, volume).mean(), millimetres(truth, graph, volume).mean()
    assert drift > 0.5  # int8 costs something here, or nothing would be tested
    assert apart < drift


def test_a_wrong_scale_is_seen_by_both(network: ConvNeXtPose, plan: Int8Plan, calibration: ImageSet) -> None:
    convs = tuple(replace(c, activation_scale=c.activation_scale * 40) if c.activation_scale else c for c in plan.convs)
    images, volume = calibration.images[:4], Volume.of(network.architecture)
    truth = run_reference(network, images, 4)

    def drift(of: Int8Plan) -> float:
        return float(millimetres(truth, run_reference(simulate(network, of), images, 4), volume).mean())

    assert drift(replace(plan, convs=convs)) > 5 * drift(plan)


def test_a_plan_for_another_graph_is_a_defect(plan: Int8Plan, plain: Path) -> None:
    odd = replace(plan, convs=(*plan.convs, replace(plan.quantised[0], name="head.no_such_layer")))
    with pytest.raises(CheckFailed, match="no_such_layer"):
        insert_int8(onnx.load(plain), odd)


def test_the_written_file_is_proven(tmp_path: Path, plan: Int8Plan) -> None:
    """Both inputs; the rest of the graph is FP16, and the file says of itself what it is."""
    reference = build_network(TINY, alive_weights())
    for takes_pixels in (False, True):
        graph = in_precision(reference, "int8", takes_pixels=takes_pixels)
        record = export_int8(graph, tmp_path / "int8.onnx", {}, plan)
        assert record.types.operators["QuantizeLinear"] == {"int8": len(plan.quantised)}
        assert record.types.operators["Conv"] == {"float16": len(plan.convs)}
        assert record.types.operators["Softmax"] == {"float32": 1}
        assert record.inputs[0].dtype == ("uint8" if takes_pixels else "float32")
        assert record.nodes["DequantizeLinear"] == 2 * len(plan.quantised)
        assert record.int8 is not None
        counts = (record.int8.convolutions_int8, record.int8.convolutions_fp16)
        assert counts == (len(plan.quantised), len(plan.convs) - len(plan.quantised))
        assert record.types.initializer_share <= 0.4


def test_an_int8_file_that_is_hardly_smaller_than_fp16_is_refused(tmp_path: Path, plan: Int8Plan) -> None:
    few = plan.keeping([conv.name for conv in plan.quantised[3:]], "a test")
    graph = in_precision(build_network(TINY, alive_weights()), "int8")
    with pytest.raises(CheckFailed, match=r"too little is in int8 .* 0\.4 is the most") as caught:
        export_int8(graph, tmp_path / "int8.onnx", {}, few)
    assert "more convolutions into int8" in caught.value.do


def test_a_plan_that_quantises_nothing_makes_no_int8_file(tmp_path: Path, plan: Int8Plan) -> None:
    nothing = plan.keeping([conv.name for conv in plan.convs], "a test")
    graph = in_precision(build_network(TINY, alive_weights()), "int8")
    with pytest.raises(CheckFailed, match="quantises nothing"):
        export_int8(graph, tmp_path / "int8.onnx", {}, nothing)
