"""What a report reads: all may be missing but the manifest, and nothing is mixed that does not belong together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.report.comparison import comparison_of
from bench.report.from_export import read_subject
from bench.report.one_model import page_of
from bench.report.sources import find_sources, read_sources
from bench.report.views import Page
from export.errors import BadInput
from tests.report_folder import Planted, first_table, write_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing is missing; tests must leave it as it is."""
    return write_folder(tmp_path_factory.mktemp("report") / "S")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "S"))


def page(folder: Path) -> Page:
    return page_of(read_subject(folder))[0]


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def missing(page: Page) -> dict[str, str | None]:
    """Section → the command that makes what is missing in it."""
    return {section.id: one.command for section in page.sections for one in section.missing}


def test_nothing_is_missing_in_a_whole_folder(whole: Path) -> None:
    assert missing(page(whole)) == {}


def test_without_a_benchmark_each_section_says_what_makes_it(copy: Path) -> None:
    shutil.rmtree(copy / "bench")
    found = missing(page(copy))
    figures = {"pareto", "speed-up", "tail", "trace", "throughput", "photo", "parts"}
    assert found.keys() == {"decision", *figures, "environment"}
    assert set(found.values()) == {f"convnextpose bench {copy}"}
    first = next(section for section in page(copy).sections if section.id == "decision").tables[0]
    assert [cell.text for cell in first.lines[0].cells] == ["ONNX Runtime fp32", "2", "8.10", "2.50 [2.40, 2.60]"]
    assert {line.standing for line in first.lines} == {"greyed"}


def test_passes_that_were_not_taken_name_their_option(tmp_path: Path) -> None:
    found = missing(page(write_folder(tmp_path / "S", extras=False)))
    assert found == {
        "throughput": f"convnextpose bench {tmp_path / 'S'} --throughput",
        "photo": f"convnextpose bench {tmp_path / 'S'}",
        "parts": f"convnextpose bench {tmp_path / 'S'} --profile",
    }


def test_where_no_row_may_be_ranked_more_rounds_are_advised_and_not_the_same_again(tmp_path: Path) -> None:
    restless = [Planted("openvino", of, 6.0, noise=0.3) for of in ("fp32", "fp16")]
    protocol = {"threads": 2, "seed": 0, "stop": {"budget_s": 40.0}}
    folder = write_folder(tmp_path / "S", restless, evaluated=False, protocol=protocol)
    made = page(folder)
    found = missing(made)
    longer = f"convnextpose bench {folder} --budget 120"
    assert (found["pareto"], found["speed-up"]) == (longer, longer)
    (trace,) = (of for section in made.sections for of in section.figures if of.id == "trace")
    assert "openvino fp16 (unstable, drawn pale) from" in trace.alt
    assert "openvino fp32, openvino fp16: their figures are unstable." in made.answers[0].details[0]


def test_without_its_samples_a_result_still_makes_a_page(copy: Path) -> None:
    (copy / "bench/samples.npz").unlink()
    assert missing(page(copy)).keys() == {"tail", "trace"}


def test_only_the_manifest_has_to_be_there(copy: Path) -> None:
    for name in ("bench", "accuracy"):
        shutil.rmtree(copy / name)
    (copy / "latency.json").unlink()
    answers = page(copy).answers
    assert answers[0].text == "Not known yet: nothing was benchmarked"
    (copy / "manifest.json").unlink()
    with pytest.raises(BadInput, match="there is no manifest"):
        read_sources(copy)


@pytest.mark.parametrize("name", ["manifest.json", "latency.json", "bench/result.json", "accuracy/drawn.json"])
def test_an_unknown_schema_version_is_refused_by_name(copy: Path, name: str) -> None:
    rewrite(copy / name, lambda plain: plain.update(schema_version="9.9"))
    with pytest.raises(BadInput) as refused:
        read_sources(copy)
    assert name.rpartition("/")[2] in refused.value.what
    assert refused.value.seen == "schema_version 9.9"


@pytest.mark.parametrize("name", ["latency.json", "bench/result.json", "accuracy/drawn.json"])
@pytest.mark.parametrize("text", ["", "[[", '"text"', '{"schema_version": "1.0"}'])
def test_a_damaged_file_is_refused(copy: Path, name: str, text: str) -> None:
    (copy / name).write_text(text)
    with pytest.raises(BadInput) as refused:
        read_sources(copy)
    assert name.rpartition("/")[2] in refused.value.what


def test_a_comparison_of_another_schema_is_refused(copy: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate.json"
    gate.write_text(json.dumps({"schema_version": "2.0", "kind": "compare"}))
    with pytest.raises(BadInput, match=r"no comparison of schema 1\.0"):
        read_sources(copy, gate)
    gate.write_text(json.dumps(first_table()))
    with pytest.raises(BadInput, match="no comparison"):
        read_sources(copy, gate)


def test_a_benchmark_of_other_files_is_refused_with_the_difference(copy: Path) -> None:
    rewrite(copy / "manifest.json", lambda plain: plain["artifacts"][0].update(sha256="f" * 64))
    with pytest.raises(BadInput) as refused:
        read_sources(copy)
    assert refused.value.seen == "onnx/S-fp32.onnx: 000000000000 was measured, ffffffffffff is in the manifest"


def test_a_benchmark_of_another_model_is_refused(copy: Path) -> None:
    rewrite(copy / "bench/result.json", lambda plain: plain.update(model="L"))
    with pytest.raises(BadInput, match="of another model"):
        read_sources(copy)


def test_an_evaluation_of_other_weights_or_files_is_refused(copy: Path) -> None:
    path = copy / "accuracy/drawn.json"
    rewrite(path, lambda plain: plain["weights"].update(sha256="b" * 64))
    with pytest.raises(BadInput, match="of other weights"):
        read_sources(copy)
    rewrite(path, lambda plain: plain["weights"].update(sha256="a" * 64))
    rewrite(path, lambda plain: plain["contenders"][0].update(sha256="c" * 64))
    with pytest.raises(BadInput, match="on other files"):
        read_sources(copy)


def test_samples_that_were_changed_are_refused(copy: Path) -> None:
    (copy / "bench/samples.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadInput, match=r"samples\.npz"):
        read_sources(copy)


def test_models_of_different_machines_are_refused_with_the_difference(whole: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "M", model="M", cpu="Another processor")
    with pytest.raises(BadInput) as refused:
        comparison_of([read_subject(whole), read_subject(other)])
    assert refused.value.seen == 'cpu: "A processor", "Another processor"'


def test_models_of_one_machine_stand_side_by_side_and_none_is_ranked(whole: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "M", model="M", reference_ms=40.0)
    unmeasured = write_folder(tmp_path / "L", model="L")
    shutil.rmtree(unmeasured / "bench")
    made, found = comparison_of([read_subject(of) for of in (whole, other, unmeasured)])
    assert [one.row and one.row.name for _, one in found] == ["openvino int8", "openvino int8", None]
    side = made.sections[0].tables[0]
    assert [line.cells[0].text for line in side.lines] == ["S", "M", "L"]
    assert [line.standing for line in side.lines] == ["", "", "greyed"]
    assert [figure.id for figure in made.sections[0].figures] == ["models"]
    assert "between models there is no interval" in made.answers[3].details[-1]


def test_two_exports_of_one_model_are_called_by_their_folders(whole: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "S")
    made, _ = comparison_of([read_subject(whole), read_subject(other)])
    assert [line.cells[0].text for line in made.sections[0].tables[0].lines] == [f"S ({whole})", f"S ({other})"]


def test_a_folder_of_folders_stands_for_the_models_that_were_measured(whole: Path, tmp_path: Path) -> None:
    for name in ("M", "S"):
        shutil.copytree(whole, tmp_path / name)
    assert list(find_sources([tmp_path]).models) == [tmp_path / "M", tmp_path / "S"]
    shutil.rmtree(tmp_path / "M/bench")
    assert list(find_sources([tmp_path, tmp_path / "S"]).models) == [tmp_path / "S"]
    shutil.rmtree(tmp_path / "S/bench")
    assert list(find_sources([tmp_path]).models) == [tmp_path / "M", tmp_path / "S"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no exported model"):
        list(find_sources([tmp_path / "empty"]).models)
