"""``trtexec``'s exported times against a row of ours. The files here are written by hand, in the published format."""

import json
import shlex
from pathlib import Path

import pytest

from bench.result import Result, write_result
from bench.trtexec import compare_trtexec, read_times
from export.engine_plan import EnginePlan
from export.errors import BadInput
from export.recipe import recipe_of
from tests.bench_results import STILL, B, result, row, session
from tests.command_line import ROOT, assert_three_parts, convnextpose_here
from tests.test_recipe import artifact, manifest

ROW = "tensorrt/fp32/b1/t2"


def times(folder: Path, compute_ms: list[float]) -> Path:
    """As ``exportJSONTrace`` of TensorRT's ``samples/common/sampleReporting.cpp`` lays it out."""
    lines = [
        f'{{ "startEnqMs" : {at}, "endEnqMs" : {at + 0.1}, "startH2dMs" : {at}, "endH2dMs" : {at}, '
        f'"startComputeMs" : {at}, "endComputeMs" : {at + ms}, "startD2hMs" : {at + ms}, "endD2hMs" : {at + ms}, '
        f'"h2dMs" : 0, "computeMs" : {ms}, "d2hMs" : 0, "latencyMs" : {ms} }}'
        for at, ms in enumerate(compute_ms)
    ]
    path = folder / "times.json"
    path.write_text("[\n  " + "\n, ".join(lines) + "\n]\n")
    return path


def measured(device_ms: float = 2.0, rounds: int = 30) -> Result:
    """A result with a row of TensorRT whose GPU time is known."""
    of = session({name: latencies[:rounds] for name, latencies in STILL.items()})
    ours = row(of)
    host = ours.latency["host_e2e"]
    device = host.model_copy(update={"p50_ms": device_ms})
    changes = {"id": ROW, "runtime": "tensorrt", "latency": {"host_e2e": host, "device": device}}
    return result(of, rows=[ours.model_copy(update=changes)])


def test_the_median_of_what_was_computed_is_compared(tmp_path: Path) -> None:
    read = read_times(times(tmp_path, [9.0, 2.01, 2.02] * 5))
    assert list(read[:3]) == [9.0, 2.01, 2.02]
    found = compare_trtexec(measured(2.0), read)
    assert (found.row, found.boundary, found.trtexec_ms) == (ROW, "device", 2.02)
    assert found.ratio == pytest.approx(1.01)


@pytest.mark.parametrize(
    ("trtexec_ms", "queries", "rounds", "outcome"),
    [
        (2.03, 50, 30, "agree"),
        (2.1, 50, 30, "disagree"),
        (1.9, 50, 30, "disagree"),
        (2.0, 10, 30, "inconclusive"),
        (2.0, 50, 5, "inconclusive"),  # our row is unstable
    ],
)
def test_five_percent_is_seen(tmp_path: Path, trtexec_ms: float, queries: int, rounds: int, outcome: str) -> None:
    read = read_times(times(tmp_path, [trtexec_ms] * queries))
    assert compare_trtexec(measured(rounds=rounds), read).outcome == outcome


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", '{"a": 1}', '[{"latencyMs": 1}]', '[{"computeMs": -1}]'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="does not hold trtexec's times"):
        read_times(path)


def test_a_row_without_gpu_time_is_refused_by_name(tmp_path: Path) -> None:
    read = read_times(times(tmp_path, [2.0] * 20))
    with pytest.raises(BadInput, match="no row of TensorRT"):
        compare_trtexec(result(session(STILL)), read)
    with pytest.raises(BadInput, match=f"no row {B.id}"):
        compare_trtexec(measured(), read, B.id)
    assert compare_trtexec(measured(), read, ROW).outcome == "agree"


@pytest.mark.parametrize(("trtexec_ms", "queries", "exit_code"), [(2.0, 20, 0), (2.2, 20, 1), (2.0, 3, 3), (-1, 20, 2)])
def test_exit_codes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trtexec_ms: float,
    queries: int,
    exit_code: int,
) -> None:
    files = write_result(tmp_path, measured()), times(tmp_path, [trtexec_ms] * queries)
    run = convnextpose_here(monkeypatch, capsys, "compare-trtexec", *files, "--json", cwd=tmp_path)
    assert run.returncode == exit_code, run.stderr
    if exit_code:
        assert_three_parts(run, exit_code)
    if exit_code != 2:
        assert json.loads(run.stdout)["kind"] == "trtexec"


def test_the_documented_commands_are_those_of_the_recipe() -> None:
    text = (ROOT / "docs/measuring.md").read_text(encoding="utf-8").replace("\\\n", " ")
    documented = [shlex.split(line) for line in text.splitlines() if line.startswith("trtexec ")]
    plan = EnginePlan()
    (model,) = recipe_of(manifest(artifact("fp16")), plan).models
    (timing,) = [of for of in model.timings if (of.batch, of.boundary) == (1, "gpu")]
    wanted = [[word.replace("L-fp16", "S-fp16") for word in timing.trtexec[major]] for major in ("10", "11")]
    assert documented == wanted
