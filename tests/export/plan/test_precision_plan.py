"""Precision plans: the rule, files that users edit, and summaries."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.common.errors import BadInput, CheckFailed
from export.common.files import write_json
from export.common.interface import PRECISIONS
from export.images.image_set import ImageSet, ImagesRecord
from export.plan.placement import place
from export.plan.precision_plan import BY_HAND, FROM_FILE, PrecisionPlan, accept_plan, read_plan
from export.plan.scales import stored_scale
from export.plan.weights import prepare
from tests.support.checkpoints import TINY
from tests.support.drawings import drawn_images
from tests.support.tiny_int8 import FEW, WEIGHTS_SHA256, tiny_calibration, tiny_network, tiny_plan, tiny_prepared

PLANNED = PRECISIONS[1:]
BLOCK = "backbone.stages.2.0"
Damage = Callable[[dict[str, Any]], object]


def in_block(name: str) -> bool:
    return name.startswith(BLOCK)


def with_block_in_fp32(plan: PrecisionPlan) -> PrecisionPlan:
    return plan.raise_precision([conv.name for conv in plan.convs if in_block(conv.name)], "a test")


def write_plan(plan: PrecisionPlan, path: Path) -> Path:
    write_json(path, plan.as_json())
    return path


# ── a plan as a file ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", PLANNED)
def test_a_plan_survives_its_file(tmp_path: Path, precision: str) -> None:
    plan = replace(tiny_plan(precision), aim="near", mean_mm=0.5, p99_mm=2.0, search=("a line",), search_seconds=1.5)
    block = [conv.name for conv in plan.convs if in_block(conv.name) and conv.precision == precision]
    for expected in (plan, plan.raise_precision(block, "a test")):
        assert read_plan(write_plan(expected, tmp_path / "plan.json"), TINY) == expected


def few_images(count: int) -> ImagesRecord:
    return ImageSet(drawn_images(count, 64, 3), "a few").record


@pytest.mark.parametrize(
    ("damage", "message"),
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
        (lambda p: p["convs"][2].update(precision="fp32"), "impossible precision.*choose int8 or fp16"),
        (lambda p: p["convs"][0].update(precision="int8", input_scale=1.0), "cannot be INT8.*stem"),
        (lambda p: p["convs"][1].update(precision="int8", input_scale=1.0), "cannot be INT8.*depthwise"),
        (lambda p: p.update(schema_version="2.0"), "no precision plan of schema 3.0 or 3.1.*schema_version 2.0"),
        (lambda p: p.pop("convs"), "no precision plan.*convs"),
        (lambda p: p.update(precision="fp8"), "no precision plan.*precision: fp8"),
        (lambda p: p.update(precision="bf16"), "impossible precision.*choose bf16 or fp32"),
        (lambda p: p["calibration"]["images"].pop(), "does not list its calibration images.*not those of the set"),
        (lambda p: p["calibration"].update(sha256="0" * 64), "does not list its calibration images"),
        (lambda p: p.update(calibration=asdict(few_images(3))), "does not list its calibration images"),
    ],
)
def test_an_impossible_plan_is_refused(tmp_path: Path, damage: Damage, message: str) -> None:
    record = json.loads(json.dumps(tiny_plan().as_json()))
    kinds = {index: record["convs"][index]["kind"] for index in (0, 1, 2, -1)}
    assert kinds == {0: "stem", 1: "depthwise", 2: "pointwise", -1: "final"}
    damage(record)
    (tmp_path / "plan.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=message) as caught:
        read_plan(tmp_path / "plan.json", TINY)
    assert str(tmp_path / "plan.json") in caught.value.problem


@pytest.mark.parametrize("part", ["dwconv", "pwconv1", "pwconv2"])
def test_half_a_block_in_fp32_is_refused(tmp_path: Path, part: str) -> None:
    half = tiny_plan("fp16").raise_precision([f"{BLOCK}.{part}"], "a test")
    with pytest.raises(BadInput, match="part of a block") as caught:
        read_plan(write_plan(half, tmp_path / "plan.json"), TINY)
    assert all(f"{BLOCK}.{other}" in caught.value.detail for other in {"dwconv", "pwconv1", "pwconv2"} - {part})


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    for name in ("plan.json", "nowhere.json", "."):
        with pytest.raises(BadInput, match="precision plan"):
            read_plan(tmp_path / name, TINY)


def test_an_edited_plan_gets_true_reasons_and_no_measurements(tmp_path: Path) -> None:
    """Scales are rounded to FP16, too."""
    measured = replace(tiny_plan(), aim="near", mean_mm=1.0, p99_mm=3.0, search=("25: 1.000 mm",), search_seconds=9.0)
    record = json.loads(json.dumps(measured.as_json()))
    places = [index for index, conv in enumerate(record["convs"]) if conv["precision"] == "int8"][:3]
    rows = [record["convs"][index] for index in places]
    rows[0].update(precision="fp16", macs=1)
    rows[1].update(precision="fp16", reason="my own")
    rows[2].update(reason="kept out by the search: no longer", input_scale=0.1)
    write_json(tmp_path / "plan.json", record)
    read = accept_plan(read_plan(tmp_path / "plan.json", TINY), WEIGHTS_SHA256)
    rule = place(TINY, "int8")
    first, second, third = (read.convs[index] for index in places)
    assert (first.reason, first.macs, second.reason) == (BY_HAND, rule[places[0]].macs, "my own")
    assert (third.reason, third.input_scale) == (rule[places[2]].reason, stored_scale(0.1))
    assert (read.aim, read.mean_mm, read.p99_mm, read.search_seconds) == (None, None, None, None)
    assert read.search == (FROM_FILE,)
    assert accept_plan(read, WEIGHTS_SHA256).search == read.search


def test_a_plan_for_other_weights_is_refused() -> None:
    with pytest.raises(BadInput, match=r"other weights.*aaaa.*bbbb"):
        accept_plan(tiny_plan(), "b" * 64)
    with pytest.raises(BadInput, match="made for no checkpoint"):
        accept_plan(replace(tiny_plan(), weights_sha256=None), "b" * 64)


# ── changes and summaries ────────────────────────────────────────────────────────────────────────────────────────────


def test_raising_changes_only_the_named_convolutions() -> None:
    plan = tiny_plan("fp16")
    raised = with_block_in_fp32(plan)
    assert raised.in_fp32 == {BLOCK}
    assert replace(raised, convs=plan.convs) == plan
    for before, after in zip(plan.convs, raised.convs, strict=True):
        changes = {"precision": "fp32", "reason": "a test"} if in_block(before.name) else {}
        assert asdict(after) == asdict(before) | changes
    assert plan.raise_precision([], "a test") == plan
    macs = [(conv.macs, in_block(conv.name)) for conv in plan.convs]
    assert raised.share("fp32") == pytest.approx(sum(n for n, inside in macs if inside) / sum(n for n, _ in macs))
    assert raised.share("fp32") + raised.share("fp16") == pytest.approx(1)


@pytest.mark.parametrize(("precision", "higher"), [("fp16", "fp32"), ("bf16", "fp32"), ("int8", "fp16")])
def test_an_empty_plan_is_refused(precision: str, higher: str) -> None:
    plan = tiny_plan(precision)
    plan.require_not_empty()
    *others, last = [conv.name for conv in plan.convs if conv.precision == precision]
    plan.raise_precision(others, "a test").require_not_empty()
    empty = plan.raise_precision([*others, last], "a test")
    with pytest.raises(BadInput, match=f"no convolution in {precision}"):
        accept_plan(empty, WEIGHTS_SHA256)
    with pytest.raises(CheckFailed, match=rf"9\.000 mm — use --precision {higher}"):
        replace(empty, search=("0: 1 mm", "0: 9.000 mm")).require_not_empty()


def test_an_accepted_plan_has_the_same_weights() -> None:
    """Also for a convolution that is back in FP16 after its input was rescaled."""
    plan, candidates = tiny_prepared("int8")
    raised = plan.raise_precision([plan.quantized[3].name, plan.quantized[8].name], "a test")
    first = candidates.weights(raised)
    again, others = prepare(tiny_network(), accept_plan(raised, WEIGHTS_SHA256), tiny_calibration().images[:FEW])
    second = others.weights(again)
    assert [conv.input_scale for conv in again.quantized] == [conv.input_scale for conv in raised.quantized]
    assert all(torch.equal(first.floats[name], second.floats[name]) for name in first.floats)
    assert first.int8.keys() == second.int8.keys()
    assert all(np.array_equal(int8.values, second.int8[name].values) for name, int8 in first.int8.items())
