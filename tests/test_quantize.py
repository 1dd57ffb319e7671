"""Int8: calibration that is refused or believed, scales, the graph and its proof, and the search."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from export import quantize
from export.calibration import NEEDED_IMAGES, drawn_calibration, folder_calibration
from export.deploy import deploy
from export.drawings import drawn_images
from export.errors import BadInput, CheckFailed
from export.fake_quant import dequantised, quantised_weights, simulate
from export.image_set import ImageSet
from export.int8_placement import place
from export.int8_plan import Int8Plan
from export.int8_proof import prove_int8
from export.int8_search import mean_drift, search_plan
from export.network import ConvNeXtPose, build_network
from export.onnx_graph import write_onnx
from export.parity import millimetres
from export.parity_images import parity_images, require_disjoint
from export.pose import Volume, normalise
from export.precision import in_precision
from export.quantize import export_int8, insert_int8
from export.reference import run_reference
from export.runners import OnnxRuntime, run_batches
from export.scales import LARGEST, LARGEST_SCALE, Seen, activation_scales, stored_scale
from export.typed import OPSETS
from tests.checkpoints import TINY, alive_weights
from tests.photos import write_rgb
from tests.tiny_int8 import tiny_calibration, tiny_network, tiny_plan


@pytest.fixture
def network() -> ConvNeXtPose:
    return tiny_network()


@pytest.fixture
def calibration() -> ImageSet:
    return tiny_calibration()


@pytest.fixture
def plan() -> Int8Plan:
    return tiny_plan()


# -- calibration ------------------------------------------------------------------------------------------------------


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index, image in enumerate(drawn_images(count, 64, 3)):
        write_rgb(folder / f"{index:03}.png", image)
    return folder


def test_a_folder_of_crops_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "crops", 33)
    found = folder_calibration(folder, 64)
    assert np.array_equal(found.images, drawn_images(33, 64, 3))
    assert (found.as_json()["count"], found.source) == (33, "crops from folder crops")
    assert found.sha256 == folder_calibration(folder, 64).sha256 != folder_calibration(folder, 128).sha256


def test_one_unreadable_file_is_named_and_many_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "crops", 40)
    (folder / "bad.jpg").write_text("no image")
    assert "bad.jpg" in folder_calibration(folder, 64).notes[0]
    for index in range(4):
        (folder / f"worse{index}.png").write_text("no image")
    with pytest.raises(BadInput, match=r"5 of 45: bad.jpg"):
        folder_calibration(folder, 64)


def test_too_few_repeated_flat_or_missing_images_are_refused(tmp_path: Path) -> None:
    few = folder_of(tmp_path / "few", 31)
    with pytest.raises(BadInput, match=r"31 readable of 31 .*32 crops of people at least"):
        folder_calibration(few, 64)
    (few / "more").mkdir()
    (few / "000.png").rename(few / "more/000.png")
    with pytest.raises(BadInput, match=r"30 readable of 30 .*1 subfolders, which are not looked into"):
        folder_calibration(few, 64)
    repeated = folder_of(tmp_path / "repeated", 31)
    for index in range(10):
        (repeated / f"again{index}.png").write_bytes((repeated / "000.png").read_bytes())
    with pytest.raises(BadInput, match="31 in"):
        folder_calibration(repeated, 64)
    flat = tmp_path / "flat"
    flat.mkdir()
    for level in range(40):
        write_rgb(flat / f"{level}.png", np.full((64, 64, 3), (level, 200, 2 * level), np.uint8))  # in colour, too
    with pytest.raises(BadInput, match="flat"):
        folder_calibration(flat, 64)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"0 readable of 0 .*32 crops of people at least"):
        folder_calibration(tmp_path / "empty", 64)
    with pytest.raises(BadInput, match="cannot read"):
        folder_calibration(tmp_path / "nowhere", 64)


def test_subfolders_are_said_to_be_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "crops", 33)
    (folder / "more").mkdir()
    assert folder_calibration(folder, 64).notes == ("1 subfolders were not looked into",)


def test_drawn_calibration_is_deterministic_and_apart_from_other_images() -> None:
    drawn = drawn_calibration(256)
    assert drawn.sha256 == drawn_calibration(256).sha256
    assert len(drawn.images) >= NEEDED_IMAGES
    assert len(drawn_calibration(128).images) >= NEEDED_IMAGES


# -- scales -----------------------------------------------------------------------------------------------------------


def test_a_scale_clips_what_is_rare_and_keeps_what_is_not() -> None:
    even = Seen(10.0, np.ones(2048))
    assert even.scale == pytest.approx(10 / LARGEST, rel=0.02)
    rare = np.zeros(2048)
    rare[:200], rare[-1] = 1e6, 1
    assert Seen(10.0, rare).scale < 3 / LARGEST
    assert Seen().scale > 0


def test_scales_are_those_of_the_inputs(network: ConvNeXtPose, calibration: ImageSet) -> None:
    """Against a largest value taken another way."""
    name = "head.deconv_layers_2.pwconv"
    seen = []
    conv = network.get_submodule(name)
    handle = conv.register_forward_pre_hook(lambda _, args: seen.append(float(args[0].abs().max())))
    run_reference(network, calibration.images, 8)
    handle.remove()
    scale = activation_scales(network, [name], calibration.images)[name]
    assert 0.15 * max(seen) / LARGEST <= scale <= max(seen) / LARGEST
    assert not conv._forward_pre_hooks


@given(arrays(np.float32, (4, 3, 1, 1), elements=st.floats(-100, 100, width=32)))
def test_weights_are_rounded_to_half_a_step_and_never_clipped(weights: NDArray[np.float32]) -> None:
    values, scales = quantised_weights(weights)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= LARGEST
    assert (scales == scales.astype(np.float16)).all()
    error = np.abs(dequantised(values, scales) - weights)
    assert (error <= scales[:, None, None, None] * 0.5001).all()


@given(st.floats(1e-9, 60000))
def test_a_stored_scale_is_a_normal_half_from_above(scale: float) -> None:
    stored = stored_scale(scale)
    assert stored >= scale
    assert stored == float(np.float16(stored))
    assert stored <= max(scale * (1 + 2**-9), 6.2e-5)


def test_a_scale_beyond_float16_is_none() -> None:
    assert stored_scale(LARGEST_SCALE) == LARGEST_SCALE
    for beyond in (65505.0, 1e6, float("inf"), float("nan")):
        assert stored_scale(beyond) == float("inf")


# -- the graph --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "fp32.onnx"
    write_onnx(tiny_network(), path, {})
    return path


@pytest.fixture(scope="module")
def written(plain: Path) -> Path:
    path = plain.with_name("int8.onnx")
    model = onnx.load(plain)
    insert_int8(model, tiny_plan())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


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


ENDS = ("scale", "zero_point")


def in_float(model: onnx.ModelProto) -> None:
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and n.input[0].endswith(".input"))
    conv.input[0] = next(
        n for n in model.graph.node if n.output[0] == conv.input[0].replace(".input", ".input_int8")
    ).input[0]


def with_array(suffix: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[onnx.ModelProto], None]:
    def plant(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name.endswith(suffix))
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))

    return plant


def with_another_scale(model: onnx.ModelProto) -> None:
    """One scale where values are rounded, another where they are read."""
    node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0].endswith("input_int8"))
    tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
    model.graph.initializer.append(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), "another"))
    node.input[1] = "another"


def with_quantised_output(model: onnx.ModelProto) -> None:
    """The logits pass through int8."""
    final = next(n for n in model.graph.node if n.name == "head.final_layer/Conv")
    (output,) = final.output
    constants = [next(t.name for t in model.graph.initializer if t.name.endswith(f".input_{e}")) for e in ENDS]
    for node in model.graph.node:
        node.input[:] = ["through" if name == output else name for name in node.input]
    model.graph.node.extend(
        [
            onnx.helper.make_node("QuantizeLinear", [output, *constants], ["rounded"], "extra/Q"),
            onnx.helper.make_node("DequantizeLinear", ["rounded", *constants], ["through"], "extra/DQ"),
        ]
    )


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (in_float, "does not have both its input and its weights in int8"),
        (with_array(".input_scale", lambda a: -a), "has not the plan's scale"),
        (with_array(".input_scale", lambda a: a * np.nan), "has not the plan's scale"),
        (with_array(".input_scale", lambda a: a * 40), "has not the plan's scale"),
        (with_array(".weight.scales", lambda a: a * 3), "other scales"),
        (with_array(".weight.scales", lambda a: a[0]), "other scales"),
        (with_array(".weight.int8", np.zeros_like), "are not the network's, rounded"),
        (with_array(".weight.int8", lambda a: a[::-1].copy()), "are not the network's, rounded"),
        (with_array(".input_zero_point", lambda a: a + 3), "not symmetric"),
        (with_array(".input_zero_point", lambda a: a.astype(np.uint8)), "not symmetric"),
        (with_array("head.final_layer.weight", lambda a: a * 1.01), "constants are not the FP16 graph's"),
        (with_another_scale, "DequantizeLinear of .* has not the plan's scale"),
        (with_quantised_output, "is not the FP16 graph's|quantises elsewhere"),
        (lambda model: setattr(model.metadata_props.add(), "key", "another"), "metadata are not the FP16 graph's"),
    ],
)
def test_planted_defects_are_seen(
    written: Path, plain: Path, plan: Int8Plan, plant: Callable[[onnx.ModelProto], None], said: str
) -> None:
    model, half = onnx.load(written), onnx.load(plain)
    prove_int8(model, half, plan)
    plant(model)
    with pytest.raises(CheckFailed, match=said):
        prove_int8(model, half, plan)


def test_other_convolutions_than_planned_are_seen(written: Path, plain: Path, plan: Int8Plan) -> None:
    fewer = plan.keeping([plan.quantised[0].name], "a test")
    with pytest.raises(CheckFailed, match=plan.quantised[0].name):
        prove_int8(onnx.load(written), onnx.load(plain), fewer)


@pytest.mark.parametrize("scale", [1e-9, 1e6, float("inf")])
def test_a_scale_that_the_graph_cannot_store_is_no_proof(tmp_path: Path, plan: Int8Plan, scale: float) -> None:
    """In float16 it is 0 or infinite, in the file as in what it is compared with."""
    first = plan.quantised[0].name
    convs = tuple(replace(c, activation_scale=scale) if c.name == first else c for c in plan.convs)
    write_onnx(in_precision(build_network(TINY, alive_weights()), "int8"), tmp_path / "half.onnx", {}, OPSETS["int8"])
    model, half = onnx.load(tmp_path / "half.onnx"), onnx.load(tmp_path / "half.onnx")
    with np.errstate(over="ignore"):
        insert_int8(model, replace(plan, convs=convs))
        with pytest.raises(CheckFailed, match=f"the plan's scale of {first}'s input is none in float16"):
            prove_int8(model, half, replace(plan, convs=convs))


def test_a_file_is_proven_before_it_is_kept(tmp_path: Path, plan: Int8Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def insert_wrongly(model: onnx.ModelProto, plan: Int8Plan) -> None:
        insert_int8(model, plan)
        with_array(".weight.int8", np.zeros_like)(model)

    monkeypatch.setattr(quantize, "insert_int8", insert_wrongly)
    with pytest.raises(CheckFailed, match="are not the network's, rounded"):
        export_int8(in_precision(build_network(TINY, alive_weights()), "int8"), tmp_path / "int8.onnx", {}, plan)


def test_a_plan_that_quantises_nothing_makes_no_int8_file(tmp_path: Path, plan: Int8Plan) -> None:
    nothing = plan.keeping([conv.name for conv in plan.convs], "a test")
    graph = in_precision(build_network(TINY, alive_weights()), "int8")
    with pytest.raises(CheckFailed, match="quantises nothing"):
        export_int8(graph, tmp_path / "int8.onnx", {}, nothing)


# -- images of parity -------------------------------------------------------------------------------------------------


def test_parity_is_not_judged_on_calibration_images(tmp_path: Path) -> None:
    drawn = parity_images(256)
    assert len(drawn.images) >= 64
    require_disjoint(drawn, drawn_calibration(256).record)
    both = ImageSet(np.concatenate([drawn_calibration(256).images[:1], drawn.images]), "both")
    with pytest.raises(BadInput, match="1 images stand in"):
        require_disjoint(both, drawn_calibration(256).record)


def test_parity_on_a_folder_needs_enough_images(tmp_path: Path) -> None:
    assert len(parity_images(64, folder_of(tmp_path / "enough", 64)).images) == 64
    with pytest.raises(BadInput, match="63 readable of 63"):
        parity_images(64, folder_of(tmp_path / "few", 63))


# -- the search -------------------------------------------------------------------------------------------------------


def test_the_search_keeps_out_what_costs_most(
    network: ConvNeXtPose, calibration: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A convolution is made sensitive: one input channel a thousand times the others, so int8 loses these."""
    odd = deploy(build_network(TINY, alive_weights()))
    victim, before = "head.deconv_layers_2.pwconv", odd.head.layers[1].dwconv
    conv = odd.get_submodule(victim)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(before, nn.Conv2d)
    with torch.no_grad():
        assert before.bias is not None
        before.weight[0] *= 1000
        before.bias[0] *= 1000
        conv.weight[:, 0] /= 1000
    few = replace(calibration, images=calibration.images[:8])
    plan = search_plan(odd, few, trained=True)
    sensitivities = {c.name: c.drift_alone_mm for c in plan.convs if c.drift_alone_mm is not None}
    assert max(sensitivities, key=lambda name: sensitivities[name] or 0) == victim
    kept = [c for c in plan.convs if c.kind in ("pointwise", "downsampling") and not c.quantised]
    assert victim in [c.name for c in kept]
    assert all("search" in c.reason for c in kept)
    assert plan.drift_mm is not None
    assert plan.drift_mm <= 4
    assert len(plan.search) == len(kept) + 1
    assert plan.sensitivity_seconds is not None
    assert plan.search_seconds is not None


def test_joints_that_are_not_finite_end_the_search(calibration: ImageSet) -> None:
    broken = deploy(build_network(TINY, alive_weights()))
    with torch.no_grad():
        broken.head.final_layer.weight[0] = float("nan")
    images, volume = calibration.images[:2], Volume.of(broken.architecture)
    with pytest.raises(CheckFailed, match="not finite"):
        mean_drift(broken, images, run_reference(broken, images, 2), volume)


def test_weights_that_were_never_trained_are_not_searched(network: ConvNeXtPose, calibration: ImageSet) -> None:
    found = search_plan(network, replace(calibration, images=calibration.images[:4]), trained=False)
    assert {c.name for c in found.quantised} == {c.name for c in place(network) if c.quantised}
    assert "not searched" in found.search[0]
    assert all(c.drift_alone_mm is None for c in found.convs)
    assert found.sensitivity_seconds is None
