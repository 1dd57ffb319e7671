"""Precision plans: their files, and changes."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from export.common.errors import BadInput, CheckFailed
from export.common.files import write_json
from export.common.interface import PRECISIONS
from export.plan.precision_plan import PrecisionPlan, read_plan
from tests.support.tiny_int8 import tiny_plan

PLANNED = PRECISIONS[1:]
BLOCK = "backbone.stages.2.0"


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
        assert read_plan(write_plan(expected, tmp_path / "plan.json")) == expected


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", '{"schema_version": "3.1"}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    for name in ("plan.json", "nowhere.json", "."):
        with pytest.raises(BadInput, match="precision plan"):
            read_plan(tmp_path / name)


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
    with pytest.raises(CheckFailed, match=rf"9\.000 mm — use --precision {higher}"):
        replace(empty, search=("0: 1 mm", "0: 9.000 mm")).require_not_empty()
