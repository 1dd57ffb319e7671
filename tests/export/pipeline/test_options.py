"""Precision plans on the command line."""

from pathlib import Path

import pytest

from export.common.errors import BadInput
from export.common.files import write_json
from export.common.interface import PRECISIONS
from export.pipeline.options import parse_plans
from tests.support.tiny_int8 import tiny_plan


def write_plan(precision: str, path: Path) -> Path:
    write_json(path, tiny_plan(precision).as_json())
    return path


def test_plans_are_found_by_their_precision(tmp_path: Path) -> None:
    paths = {precision: write_plan(precision, tmp_path / f"{precision}.json") for precision in PRECISIONS[1:]}
    assert parse_plans(list(paths.values())) == paths
    assert parse_plans([]) == {}


@pytest.mark.parametrize("text", ["", "{}", '{"precision": "fp32"}', '{"precision": []}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(BadInput, match="is no precision plan"):
        parse_plans([tmp_path / "plan.json"])


def test_two_plans_for_one_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two plans for fp16"):
        parse_plans([write_plan("fp16", tmp_path / name) for name in ("first.json", "second.json")])
