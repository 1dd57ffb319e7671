"""Int8 plans: where the placement puts what, and what a plan that is given back may say."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from torch import nn

from export.architecture import Architecture
from export.artifacts import write_json
from export.deploy import deploy
from export.drawings import drawn_images
from export.errors import BadInput, CheckFailed
from export.image_set import ImageSet, ImagesRecord
from export.int8_placement import left_alone, place
from export.int8_plan import BY_HAND, GIVEN, Int8Plan, give_back, read_plan
from export.network import ConvNeXtPose, build_network
from export.pipeline import require_int8
from export.rounding import graph_values
from export.scales import stored_scale
from tests.checkpoints import TINY, alive_weights
from tests.tiny_int8 import WEIGHTS_SHA256, tiny_calibration


def test_every_convolution_is_placed_with_a_reason(network: ConvNeXtPose) -> None:
    convs = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    placed = place(network)
    assert {c.name for c in placed} == convs
    assert all(c.reason for c in placed)
    assert {c.kind: c.quantised for c in placed} == {
        "stem": False,
        "downsampling": True,
        "depthwise": False,
        "pointwise": True,
        "final": False,
    }


def test_what_is_no_convolution_is_listed_with_its_reason_too(network: ConvNeXtPose) -> None:
    """Residual sums, the decode, and all else that gives a value; of both forms of the head's end."""
    deferred = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 64, upsamplings=3)
    for of in (network, deploy(build_network(deferred, alive_weights(deferred)))):
        rows = left_alone(of.architecture)
        assert all(row.reason for row in rows)
        kinds = [row.kind for row in rows]
        assert (kinds.count("residual sum"), kinds.count("decode")) == (sum(TINY.depths), 1)
        values = {name for name, module in graph_values(of) if not isinstance(module, nn.Conv2d)}
        assert {row.name for row in rows} == values | {"entry", "decode"}


def test_a_plan_comes_back_from_its_file(tmp_path: Path, network: ConvNeXtPose, plan: Int8Plan) -> None:
    write_json(tmp_path / "plan.json", plan.as_json())
    assert read_plan(tmp_path / "plan.json", network) == plan


def few_images(count: int) -> ImagesRecord:
    return ImageSet(drawn_images(count, 64, 3), "a few").record


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p["convs"].pop(), "another network"),
        (lambda p: p["convs"].append(p["convs"][0]), "another network"),
        (lambda p: p["convs"][2].update(kind="depthwise"), "another network"),
        (lambda p: p["architecture"].update(depth_dim=64), "another network.*depth_dim 64, here 32"),
        (lambda p: p["convs"][2].update(activation_scale=0.0), "no usable scale"),
        (lambda p: p["convs"][2].update(activation_scale=None), "no usable scale"),
        (lambda p: p["convs"][2].update(activation_scale=1e-9), "no usable scale.*FP16 holds"),
        (lambda p: p["convs"][2].update(activation_scale=1e6), "no usable scale.*FP16 holds"),
        (lambda p: p["convs"][2].update(activation_scale=float("nan")), "no usable scale"),
        (lambda p: p["convs"][2].update(quantised="perhaps"), "no int8 plan"),
        (lambda p: p["convs"][0].update(quantised=True, activation_scale=1.0), "stays out of int8.*stem"),
        (lambda p: p["convs"][1].update(quantised=True, activation_scale=1.0), "stays out of int8.*depthwise"),
        (lambda p: p["convs"][-1].update(quantised=True, activation_scale=1.0), "stays out of int8.*final"),
        (lambda p: p.update(schema_version="1.0"), "no int8 plan of schema 2.0.*schema_version 1.0"),
        (lambda p: p.pop("schema_version"), "no int8 plan of schema 2.0"),
        (lambda p: p.pop("convs"), "no int8 plan"),
        (lambda p: p.update(calibration={}), "no int8 plan.*calibration"),
        (lambda p: p["calibration"].update(images=[]), "does not tell which images"),
        (lambda p: p["calibration"]["images"].pop(), "does not tell which images"),
        (lambda p: p["calibration"]["images"].__setitem__(0, "0" * 64), "does not tell which images"),
        (lambda p: p.update(calibration=asdict(few_images(3))), "does not tell which images"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(
    tmp_path: Path, network: ConvNeXtPose, plan: Int8Plan, damage: object, words: str
) -> None:
    record = json.loads(json.dumps(plan.as_json()))
    kinds = {index: record["convs"][index]["kind"] for index in (0, 1, 2, -1)}
    assert kinds == {0: "stem", 1: "depthwise", 2: "pointwise", -1: "final"}
    damage(record)  # type: ignore[operator]
    (tmp_path / "plan.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=words):
        read_plan(tmp_path / "plan.json", network)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "3", "{}", "\xff"])
def test_what_is_no_plan_at_all_is_refused(tmp_path: Path, network: ConvNeXtPose, text: str) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    for name in ("plan.json", "nowhere.json", "."):
        with pytest.raises(BadInput, match="int8 plan"):
            read_plan(tmp_path / name, network)


def test_an_edited_plan_says_what_is_true_of_it(tmp_path: Path, network: ConvNeXtPose, plan: Int8Plan) -> None:
    """Scales as FP16 stores them, reasons that fit what the row says, and nothing measured before the edit."""
    record = json.loads(json.dumps(replace(plan, drift_mm=1.0, search=("25 in int8: 1.000 mm",)).as_json()))
    places = [index for index, conv in enumerate(record["convs"]) if conv["quantised"]][:3]
    one, two, three = (record["convs"][index] for index in places)
    one.update(quantised=False)
    two.update(quantised=False, reason="it limped")
    three.update(reason="kept out by the search: no longer", activation_scale=0.1)
    record["left_alone"][0].update(reason="because")
    write_json(tmp_path / "plan.json", record)
    read = give_back(read_plan(tmp_path / "plan.json", network), WEIGHTS_SHA256)
    first, second, third = (read.convs[index] for index in places)
    assert (first.reason, second.reason) == (BY_HAND, "it limped")
    assert (third.reason, third.activation_scale) == (place(network)[places[2]].reason, stored_scale(0.1))
    assert read.left_alone == left_alone(TINY)
    assert (read.drift_mm, read.search) == (None, ("25 in int8: 1.000 mm", GIVEN))
    assert give_back(read, WEIGHTS_SHA256).search == read.search


def test_a_plan_for_other_weights_is_refused(plan: Int8Plan) -> None:
    for of in (plan, replace(plan, weights_sha256=None)):
        with pytest.raises(BadInput, match="other weights"):
            give_back(of, "b" * 64)


def test_a_plan_without_int8_is_refused_in_words_of_its_own(plan: Int8Plan) -> None:
    require_int8(plan.as_json())
    nothing = replace(plan.keeping([conv.name for conv in plan.convs], "a test"), search=("0 in int8: 9.000 mm",))
    with pytest.raises(CheckFailed, match=r"no convolution bears int8 .* 0 in int8: 9"):
        require_int8(nothing.as_json())
    with pytest.raises(CheckFailed, match="the plan that was given quantises nothing"):
        require_int8(give_back(nothing, WEIGHTS_SHA256).as_json())


def test_calibration_is_recorded_image_by_image(plan: Int8Plan) -> None:
    calibration = tiny_calibration()
    assert plan.calibration.sha256 == calibration.sha256
    assert len(set(plan.calibration.images)) == len(calibration.images) == plan.calibration.count
    turned = replace(calibration, images=calibration.images[::-1])
    assert turned.sha256 != calibration.sha256
    assert set(turned.record.images) == set(plan.calibration.images)
