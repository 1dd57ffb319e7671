"""What is not there: each section says why, and which command makes it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.harness.candidates import HOW_TO_MEASURE
from bench.report.gaps import MATTERS, NOT_POSSIBLE, gaps_of
from bench.report.recommend import recommend
from bench.report.reports import Report, read_all
from bench.report.sources import find_sources
from bench.report.views import Section
from export.common.errors import BadInput
from export.parity.budgets import WITHIN_ROUNDING
from tests.bench.report.planted import measurement, not_run, row
from tests.support.planted_bench import Planted
from tests.support.report_folder import USUAL, write_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing is missing; tests must leave it as it is."""
    return write_folder(tmp_path_factory.mktemp("report") / "S")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "S"))


def report(folder: Path) -> Report:
    made = read_all([folder])
    assert made.refused == ()
    assert made.models is not None
    return made.models


def section(folder: Path, identity: str) -> Section:
    return next(of for of in report(folder).page.sections if of.id == identity)


def test_without_a_benchmark_nothing_is_recommended(copy: Path) -> None:
    shutil.rmtree(copy / "bench")
    page = report(copy).page
    assert page.head.text == "Ship nothing yet: nothing was benchmarked."
    assert dict(page.head.steps)["Next"] == f"convnextpose bench {copy}"
    assert section(copy, "decision").tables == ()


def open_points(folder: Path) -> dict[str, str]:
    """What was not tested and matters → the command that does it."""
    return {line.cells[0].text: line.cells[2].text for line in section(folder, "untested").tables[0].lines}


def test_what_matters_is_apart_from_what_this_machine_cannot_do(tmp_path: Path) -> None:
    matters, impossible = section(write_folder(tmp_path / "S", extras=False, evaluated=False), "untested").tables
    assert (matters.caption, impossible.caption) == (MATTERS, NOT_POSSIBLE)
    assert "accuracy on annotated images" in {line.cells[0].text for line in matters.lines}
    assert {line.cells[0].text for line in impossible.lines} == {
        "tensorrt",
        "fp32 engine",
        "parity of bf16 by OpenVINO",
    }


def test_a_runtime_that_an_option_measures_is_not_called_impossible() -> None:
    skipped = (not_run("pytorch-compile", f"left out; {HOW_TO_MEASURE}"), not_run("tensorrt", "no driver"))
    gaps = gaps_of([recommend(measurement(row("openvino", 5.0), not_run=skipped))])
    assert {of.item: of.possible for _, of in gaps if of.item in ("pytorch-compile", "tensorrt")} == {
        "pytorch-compile": True,
        "tensorrt": False,
    }


def test_passes_that_were_not_taken_name_their_option(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "S", extras=False)
    found = open_points(folder)
    assert found["throughput"] == f"convnextpose bench {folder} --throughput"
    assert found["where the time goes"] == f"convnextpose bench {folder} --profile"
    assert not {of.id for of in report(folder).page.sections} & {"throughput", "parts"}


def test_passes_without_any_figure_have_the_reason_of_every_row(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "S", extras=False)
    path = folder / "bench/result.json"
    result = json.loads(path.read_text())
    for planted, reason in zip(result["rows"], ("SIGSEGV", "SIGKILL"), strict=False):
        planted["energy_reason"] = reason
    path.write_text(json.dumps(result))
    reasons = {line.cells[0].text: line.cells[1].text for line in section(folder, "untested").tables[0].lines}
    assert reasons["energy"] == "SIGSEGV; SIGKILL; --energy measures it"


def test_where_no_row_may_be_ranked_more_rounds_are_advised_and_not_the_same_again(tmp_path: Path) -> None:
    restless = [Planted("openvino", of, 6.0, noise=0.3) for of in ("fp32", "fp16")]
    protocol = {"threads": 2, "seed": 0, "stop": {"budget_s": 40.0}}
    folder = write_folder(tmp_path / "S", restless, protocol=protocol)
    longer = f"convnextpose bench {folder} --budget 120"
    assert open_points(folder)["speed-up of openvino fp32, openvino fp16"] == longer
    assert dict(report(folder).page.head.steps)["Next"] == longer


def test_what_disagrees_with_the_declaration_is_marked(whole: Path) -> None:
    fields = {line.cells[0].text: line.cells for line in section(whole, "architecture").tables[0].lines}
    assert [cell.text for cell in fields["depth_dim"]] == ["depth_dim", "64", "32", "32", "weights"]
    assert (fields["depth_dim"][0].note, fields["upsamplings"][0].note) == ("not as declared", "")


def test_a_folder_of_folders_stands_for_the_models_that_were_measured(whole: Path, tmp_path: Path) -> None:
    for name in ("M", "S"):
        shutil.copytree(whole, tmp_path / name)
    assert find_sources([tmp_path]).models == (tmp_path / "M", tmp_path / "S")
    shutil.rmtree(tmp_path / "M/bench")
    assert find_sources([tmp_path, tmp_path / "S"]).models == (tmp_path / "S",)
    shutil.rmtree(tmp_path / "S/bench")
    assert find_sources([tmp_path]).models == (tmp_path / "M", tmp_path / "S")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no exported model"):
        find_sources([tmp_path / "empty"])


def test_a_failed_parity_is_the_first_thing_on_the_page(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["parity"][0] |= {"outcome": "fail"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (notice,) = report(copy).page.notices
    assert "fp32 (fail)" in notice


def test_a_row_without_an_error_budget_is_not_said_to_pass(tmp_path: Path) -> None:
    planted = [replace(of, status=WITHIN_ROUNDING, error_mm=183.2) for of in USUAL[:4]]
    table = section(write_folder(tmp_path / "S", planted, weights="stand-in"), "decision").tables[0]
    place = table.columns.index("parity")
    assert {line.cells[place].tone for line in table.lines if "pytorch" not in line.cells[0].text} == {"warn"}
