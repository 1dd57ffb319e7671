"""Precision plans: what the placement allows, what a plan that is given back may say, and what a plan tells."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.common.errors import BadInput, CheckFailed
from export.common.files import write_json
from export.common.interface import PRECISIONS
from export.graph.deploy import deploy
from export.images.drawings import drawn_images
from export.images.image_set import ImageSet, ImagesRecord
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.pipeline.options import parse_plans
from export.plan.placement import HALF_REASON, INT8_RULE, left_alone, place
from export.plan.plan_record import plan_summary, require_left
from export.plan.planned import stored_values
from export.plan.precision_plan import BY_HAND, GIVEN, PrecisionPlan, give_back, read_plan
from export.plan.scales import stored_scale
from export.plan.search import prepare
from tests.support.checkpoints import TINY, alive_weights
from tests.support.tiny_int8 import FEW, WEIGHTS_SHA256, tiny_calibration, tiny_network, tiny_plan, tiny_prepared

PLANNED = PRECISIONS[1:]
BLOCK = "backbone.stages.2.0"


def in_block(name: str) -> bool:
    return name.startswith(BLOCK)


def with_block_in_fp32(plan: PrecisionPlan) -> PrecisionPlan:
    return plan.keeping([conv.name for conv in plan.convs if in_block(conv.name)], "fp32", "a test")


def written(plan: PrecisionPlan, path: Path) -> Path:
    write_json(path, plan.as_json())
    return path


# ── placement ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", PLANNED)
def test_every_convolution_is_placed_with_a_reason(network: ConvNeXtPose, precision: str) -> None:
    convs = {name for name, module in deploy(network).named_modules() if isinstance(module, nn.Conv2d)}
    placed = place(TINY, precision)
    assert {c.name for c in placed} == convs
    assert len(placed) == len(convs)
    assert all(c.macs > 0 for c in placed)
    for conv in placed:
        allowed, reason = INT8_RULE[conv.kind]
        expected = (("int8" if allowed else "fp16"), reason) if precision == "int8" else (precision, HALF_REASON)
        assert (conv.precision, conv.reason) == expected
    assert {c.kind for c in placed if c.precision == "int8"} <= {"downsampling", "pointwise", "final"}


def test_what_is_no_convolution_is_listed_with_its_reason_too(network: ConvNeXtPose) -> None:
    """Residual sums, the decode, and all else that gives a value; of both forms of the head's end."""
    deferred = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 64, upsamplings=3)
    for of in (deploy(network), deploy(build_network(deferred, alive_weights(deferred)))):
        rows = left_alone(of.architecture, "bf16")
        assert all(row.reason for row in rows)
        assert not any("FP16" in row.reason or "{" in row.reason for row in rows)
        kinds = [row.kind for row in rows]
        assert (kinds.count("residual sum"), kinds.count("decode")) == (sum(TINY.depths), 1)
        values = {name for name, module in stored_values(of) if not isinstance(module, nn.Conv2d)}
        assert {row.name for row in rows} == values | {"entry", "decode"}


# ── a plan as a file ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", PLANNED)
def test_a_plan_comes_back_from_its_file(tmp_path: Path, precision: str) -> None:
    plan = replace(tiny_plan(precision), aim="near", mean_mm=0.5, p99_mm=2.0, search=("a line",), search_seconds=1.5)
    kept = "fp16" if precision == "int8" else "fp32"
    block = [conv.name for conv in plan.convs if in_block(conv.name) and conv.precision == precision]
    for of in (plan, plan.keeping(block, kept, "a test")):
        assert read_plan(written(of, tmp_path / "plan.json"), TINY) == of


def few_images(count: int) -> ImagesRecord:
    return ImageSet(drawn_images(count, 64, 3), "a few").record


Damage = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p["convs"].pop(), "another network"),
        (lambda p: p["convs"].append(p["convs"][0]), "another network.*twice, or in another order"),
        (lambda p: p["convs"][2].update(kind="depthwise"), "another network"),
        (lambda p: p["convs"][2].update(name="backbone.nowhere"), "another network.*backbone.nowhere"),
        (lambda p: p["architecture"].update(depth_dim=64), "another network.*depth_dim 64, here 32"),
        (lambda p: p["convs"][2].update(input_scale=0.0), "no usable scale"),
        (lambda p: p["convs"][2].update(input_scale=None), "no usable scale.*None"),
        (lambda p: p["convs"][2].update(input_scale=1e6), "no usable scale.*FP16 holds"),
        (lambda p: p["convs"][2].update(equalization=1.5), "no usable equalization.*1.5"),
        (lambda p: p["convs"][2].update(equalization=float("nan")), "no usable equalization"),
        (lambda p: p["convs"][2].update(macs="many"), "no precision plan.*convs.2.macs"),
        (lambda p: p["convs"][2].update(precision="fp32"), "precision that cannot be had.*choose int8 or fp16"),
        (lambda p: p["convs"][0].update(precision="int8", input_scale=1.0), "quantizes what stays out.*stem"),
        (lambda p: p["convs"][1].update(precision="int8", input_scale=1.0), "quantizes what stays out.*depthwise"),
        (lambda p: p.update(schema_version="2.0"), "no precision plan of schema 3.0.*schema_version 2.0"),
        (lambda p: p.pop("convs"), "no precision plan.*convs"),
        (lambda p: p.update(precision="fp8"), "no precision plan.*precision: fp8"),
        (lambda p: p.update(precision="bf16"), "precision that cannot be had.*choose bf16 or fp32"),
        (lambda p: p["calibration"]["images"].pop(), "does not tell which images.*not those of the set"),
        (lambda p: p["calibration"].update(sha256="0" * 64), "does not tell which images"),
        (lambda p: p.update(calibration=asdict(few_images(3))), "does not tell which images"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(tmp_path: Path, damage: Damage, words: str) -> None:
    record = json.loads(json.dumps(tiny_plan().as_json()))
    kinds = {index: record["convs"][index]["kind"] for index in (0, 1, 2, -1)}
    assert kinds == {0: "stem", 1: "depthwise", 2: "pointwise", -1: "final"}
    damage(record)
    (tmp_path / "plan.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=words) as caught:
        read_plan(tmp_path / "plan.json", TINY)
    assert str(tmp_path / "plan.json") in caught.value.problem


@pytest.mark.parametrize("part", ["dwconv", "pwconv1", "pwconv2"])
def test_half_a_block_in_fp32_is_refused(tmp_path: Path, part: str) -> None:
    half = tiny_plan("fp16").keeping([f"{BLOCK}.{part}"], "fp32", "a test")
    with pytest.raises(BadInput, match="part of a block") as caught:
        read_plan(written(half, tmp_path / "plan.json"), TINY)
    assert all(f"{BLOCK}.{other}" in caught.value.detail for other in {"dwconv", "pwconv1", "pwconv2"} - {part})


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_what_is_no_plan_at_all_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    for name in ("plan.json", "nowhere.json", "."):
        with pytest.raises(BadInput, match="precision plan"):
            read_plan(tmp_path / name, TINY)


def test_an_edited_plan_says_what_is_true_of_it(tmp_path: Path) -> None:
    """Scales as FP16 stores them, reasons that fit what the row says, and nothing measured before the edit."""
    measured = replace(tiny_plan(), aim="near", mean_mm=1.0, p99_mm=3.0, search=("25: 1.000 mm",), search_seconds=9.0)
    record = json.loads(json.dumps(measured.as_json()))
    places = [index for index, conv in enumerate(record["convs"]) if conv["precision"] == "int8"][:3]
    one, two, three = (record["convs"][index] for index in places)
    one.update(precision="fp16", macs=1)
    two.update(precision="fp16", reason="it limped")
    three.update(reason="kept out by the search: no longer", input_scale=0.1)
    record["left_alone"][0].update(reason="because")
    write_json(tmp_path / "plan.json", record)
    read = give_back(read_plan(tmp_path / "plan.json", TINY), WEIGHTS_SHA256)
    rule = place(TINY, "int8")
    first, second, third = (read.convs[index] for index in places)
    assert (first.reason, first.macs, second.reason) == (BY_HAND, rule[places[0]].macs, "it limped")
    assert (third.reason, third.input_scale) == (rule[places[2]].reason, stored_scale(0.1))
    assert read.left_alone == left_alone(TINY, "int8")
    assert (read.aim, read.mean_mm, read.p99_mm, read.search_seconds) == (None, None, None, None)
    assert read.search == (GIVEN,)
    assert give_back(read, WEIGHTS_SHA256).search == read.search


def test_a_block_that_is_moved_to_fp32_by_hand_says_so(tmp_path: Path) -> None:
    record = tiny_plan("fp16").as_json()
    for conv in record["convs"]:
        conv["precision"] = "fp32" if in_block(conv["name"]) else "fp16"
    write_json(tmp_path / "plan.json", record)
    plan = read_plan(tmp_path / "plan.json", TINY)
    assert plan.in_fp32 == {BLOCK}
    assert {in_block(conv.name): conv.reason for conv in plan.convs} == {True: BY_HAND, False: HALF_REASON}


def test_a_plan_for_other_weights_is_refused() -> None:
    with pytest.raises(BadInput, match=r"other weights.*aaaa.*bbbb"):
        give_back(tiny_plan(), "b" * 64)
    with pytest.raises(BadInput, match="made for no checkpoint's"):
        give_back(replace(tiny_plan(), weights_sha256=None), "b" * 64)


# ── what a plan tells ────────────────────────────────────────────────────────────────────────────────────────────────


def test_keeping_changes_what_is_named_and_nothing_else() -> None:
    plan = tiny_plan("fp16")
    kept = with_block_in_fp32(plan)
    assert kept.in_fp32 == {BLOCK}
    assert replace(kept, convs=plan.convs) == plan
    for before, after in zip(plan.convs, kept.convs, strict=True):
        changes = {"precision": "fp32", "reason": "a test"} if in_block(before.name) else {}
        assert asdict(after) == asdict(before) | changes
    assert plan.keeping([], "fp32", "a test") == plan
    macs = [(conv.macs, in_block(conv.name)) for conv in plan.convs]
    assert kept.share("fp32") == pytest.approx(sum(n for n, inside in macs if inside) / sum(n for n, _ in macs))
    assert kept.share("fp32") + kept.share("fp16") == pytest.approx(1)


def test_a_summary_counts_convolutions() -> None:
    half, int8 = tiny_plan("fp16"), tiny_plan()
    assert half.summary() == "FP16, none of 26 convolutions in FP32"
    assert with_block_in_fp32(half).summary() == "FP16, 3 of 26 convolutions in FP32"
    assert with_block_in_fp32(tiny_plan("bf16")).summary() == "BF16, 3 of 26 convolutions in FP32"
    share = f"{int8.share('int8'):.0%} of the multiplies"
    assert int8.summary() == f"INT8: 17 of 26 convolutions, {share}; the rest in FP16"
    assert plan_summary(json.loads(json.dumps(int8.as_json()))) == int8.summary()


@pytest.mark.parametrize(("precision", "higher"), [("fp16", "fp32"), ("bf16", "fp32"), ("int8", "fp16")])
def test_a_plan_that_leaves_nothing_is_refused(precision: str, higher: str) -> None:
    plan = tiny_plan(precision)
    require_left(plan.as_json())
    *others, last = [conv.name for conv in plan.convs if conv.precision == precision]
    require_left(plan.keeping(others, higher, "a test").as_json())
    nothing = plan.keeping([*others, last], higher, "a test")
    with pytest.raises(BadInput, match=f"no convolution in {precision}"):
        give_back(nothing, WEIGHTS_SHA256)
    with pytest.raises(CheckFailed, match=rf"9\.000 mm — ask for {higher}"):
        require_left(replace(nothing, search=("0: 1 mm", "0: 9.000 mm")).as_json())


def test_calibration_is_recorded_image_by_image() -> None:
    calibration, plan = tiny_calibration(), tiny_plan()
    assert plan.calibration.sha256 == calibration.sha256
    assert len(set(plan.calibration.images)) == len(calibration.images) == plan.calibration.count
    turned = replace(calibration, images=calibration.images[::-1])
    assert turned.sha256 != calibration.sha256
    assert set(turned.record.images) == set(plan.calibration.images)


# ── plans on the command line ────────────────────────────────────────────────────────────────────────────────────────


def test_plans_are_told_apart_by_their_precision(tmp_path: Path) -> None:
    paths = {precision: written(tiny_plan(precision), tmp_path / f"{precision}.json") for precision in PLANNED}
    assert parse_plans(list(paths.values())) == paths
    assert parse_plans([]) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"precision": "fp32"}', '{"precision": []}', "[" * 100_000])
def test_a_file_that_is_no_plan_is_refused_on_the_command_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(BadInput, match="is no precision plan"):
        parse_plans([tmp_path / "plan.json"])


def test_missing_plans_and_two_for_one_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no precision plan"):
        parse_plans([tmp_path / "nowhere.json"])
    one, two = (written(tiny_plan("fp16"), tmp_path / name) for name in ("one.json", "two.json"))
    with pytest.raises(BadInput, match="two plans for fp16"):
        parse_plans([one, two])


def test_a_plan_that_is_given_back_makes_the_same_weights() -> None:
    """Also of a convolution that the search kept in FP16 after its input was rescaled."""
    plan, candidates = tiny_prepared("int8")
    kept = plan.keeping([plan.quantized[3].name, plan.quantized[8].name], "fp16", "a test")
    first = candidates.weights(kept)
    again, others = prepare(tiny_network(), give_back(kept, WEIGHTS_SHA256), tiny_calibration().images[:FEW])
    second = others.weights(again)
    assert [conv.input_scale for conv in again.quantized] == [conv.input_scale for conv in kept.quantized]
    assert all(torch.equal(first.floats[name], second.floats[name]) for name in first.floats)
    assert first.int8.keys() == second.int8.keys()
    assert all(np.array_equal(of.values, second.int8[name].values) for name, of in first.int8.items())
