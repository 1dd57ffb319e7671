"""The last screen of each command: the decision, at most 25 lines of 80 columns, and commands that can be pasted."""

import io
import json
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from bench.accuracy.record import Evaluation
from bench.gate.decision import Cell, Comparison, Slowdown
from bench.harness.latency_table import LatencyTable
from bench.report.reports import Reports
from bench.report.write import write_reports
from bench.results.result import read_result
from bench.sessions.exported import read_export
from bench.stats.statistics import Ratio
from cli import console
from cli.render import checkpoint, compare, decision, evaluate, export, report, screen
from cli.render.screen import LINES, WIDTH
from export.checkpoint.records import BY_RULE
from export.common.errors import Inconclusive
from export.common.program import executable, runnable
from export.pipeline.manifest import Manifest, NotRun, read_manifest
from tests.support.planted_bench import Planted
from tests.support.report_folder import USUAL, write_folder

LONG = "the processor of this machine has no instruction for it, and " * 9
SKIPPED = [
    {"runtime": name, "precision": None, "reason": LONG} for name in ("tensorrt", "tensorrt-rtx", "pytorch-cuda")
]
FAULTY = tuple(
    Planted("onnxruntime", precision, 3.0, faults=(f"{LONG} {precision}",)) for precision in ("fp16", "bf16")
)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return the lines printed since the last call, on a terminal of 80 columns."""
    monkeypatch.setattr(console, "LOG_COLUMNS", None)
    monkeypatch.setattr(sys, "argv", ["/opt/our tools/bin/convnextpose"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    text = io.StringIO()
    stream = console.Output(file=text, width=WIDTH, highlight=False)
    for module in (screen, checkpoint, compare, evaluate, export):
        monkeypatch.setattr(module, "out", stream)

    def lines() -> list[str]:
        printed = text.getvalue().splitlines()
        text.seek(0)
        text.truncate()
        return printed

    return lines


def assert_one_screen(lines: list[str]) -> str:
    """Check size and commands; return the text with single spaces."""
    assert len(lines) <= LINES, "\n".join(lines)
    commands = lines[lines.index("next:") + 1 :]
    assert 1 <= len(commands) <= 3
    assert all(line.startswith("  '/opt/our tools/bin/convnextpose' ") for line in commands)
    assert all(cell_len(line.rstrip()) <= WIDTH or " " not in line.strip() for line in lines[: -len(commands)])
    return " ".join(" ".join(lines).split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export with a benchmark of many rows, some of which are invalid for long reasons."""
    rows = (*USUAL, *FAULTY, Planted("openvino", "fp16", 2.0, noise=0.5))
    return write_folder(tmp_path / "S", rows, evaluated=False, extras=False, not_run=SKIPPED)


def print_bench(folder: Path) -> None:
    path = folder / "bench/result.json"
    result, exported = read_result(path), read_export(folder)
    decision.print_decision(decision.choice_of(result, exported), result, exported, path)


def test_bench_ends_with_what_to_ship(folder: Path, shown: Callable[[], list[str]]) -> None:
    print_bench(folder)
    text = assert_one_screen(shown())
    assert "ship openvino bf16 (onnx/S-bf16.onnx), stable" in text
    assert "within the INT8 budget (mean ≤ 5 mm)" in text
    assert f"bundle {folder} --precision bf16" in text
    assert "pose error unknown, export error 0.6 mm; confidence: high" in text


def print_export(manifest: Manifest, folder: Path) -> None:
    table = LatencyTable.model_validate_json((folder / "latency.json").read_bytes())
    export.print_result(manifest, table, folder, recipe=folder / "recipe.md")


def test_export_ends_with_what_may_be_shipped(folder: Path, shown: Callable[[], list[str]]) -> None:
    manifest = read_manifest(folder / "manifest.json")
    print_export(manifest, folder)
    text = assert_one_screen(shown())
    assert "may ship: fp32, fp16, bf16 int8: within the INT8 budget (mean ≤ 5 mm); accuracy not evaluated" in text
    assert "not as declared: depth_dim 32 (weights)" in text
    assert "onnxruntime fp32 8.10 ms, 2.50 [2.40, 2.60] times as fast as PyTorch" in text


def test_export_names_each_reason_once(folder: Path, shown: Callable[[], list[str]]) -> None:
    manifest = read_manifest(folder / "manifest.json")
    rule = manifest.verdict[0].model_copy(
        update={"declared": BY_RULE, "used": 3, "agrees": False, "reason": "a cube; declared S would have 2"}
    )
    engines = [NotRun(kind="engine", precision=p, status="not run", reason=LONG) for p in ("fp32", "fp16", "bf16")]
    reports = [r.model_copy(update={"outcome": "fail", "status": "fail"}) for r in manifest.parity]
    changes = {"verdict": (rule, *manifest.verdict[1:]), "not_run": engines, "parity": reports}
    print_export(manifest.model_copy(update=changes), folder)
    lines = shown()
    text = assert_one_screen(lines)
    assert text.count("fp32 engine, fp16 engine, bf16 engine not run") == 1
    assert "fp32, fp16, bf16, int8: not passed" in text
    assert "may ship: nothing" in text
    assert sum("╭" in line or "╰" in line for line in lines) == 2
    assert "a rule, here 3" in text


def test_export_says_that_random_weights_pass_nothing(folder: Path, shown: Callable[[], list[str]]) -> None:
    manifest = read_manifest(folder / "manifest.json")
    status = "within rounding error (no error budget: random weights)"
    reports = [manifest.parity[0], *(r.model_copy(update={"status": status}) for r in manifest.parity[1:])]
    weights = manifest.weights.model_copy(update={"origin": "stand-in"})
    print_export(manifest.model_copy(update={"parity": reports, "weights": weights}), folder)
    text = assert_one_screen(shown())
    assert "fp32: parity passed; fp16, bf16, int8: within rounding error" in text
    assert "may ship: nothing, these are stand-in weights" in text


def test_compare_ends_with_the_outcome(tmp_path: Path, shown: Callable[[], list[str]]) -> None:
    wide, narrow = Slowdown(1.2, 0.9, 1.6), Slowdown(1.0, 0.99, 1.01)
    cells = [
        Cell(f"onnxruntime/fp{n}/b1/t2", "INCONCLUSIVE", (LONG,), wide if n else narrow, 0.03, Ratio(1, 1, 1, 4), 4)
        for n in range(11)
    ]
    comparison = Comparison("paired", "INCONCLUSIVE", tuple(cells))
    compare.print_decision(comparison, tmp_path, tmp_path / "new", 10.0, None)
    text = assert_one_screen(shown())
    assert "INCONCLUSIVE: the data cannot decide" in text
    assert "--budget=30" in text
    assert "1.600" not in text
    assert "1.000 [0.990, 1.010]" in text
    with pytest.raises(Inconclusive, match="raise --budget"):
        compare.require_pass(comparison)


def test_evaluate_ends_with_what_keeps_its_budget(tmp_path: Path, shown: Callable[[], list[str]]) -> None:
    folder = write_folder(tmp_path / "S")
    path = folder / "accuracy/drawn.json"
    plain = json.loads(path.read_text())
    plain["published"] = [{"source": "paper", "mpjpe_mm": "51.80"}]
    for row in plain["contenders"]:
        if row["precision"] == "bf16":
            row["price_mm"] = {"mean": 5.2, "low": 5.1, "high": 5.3}
    evaluate.print_evaluation(Evaluation.model_validate(plain), folder, path)
    text = assert_one_screen(shown())
    assert "within its budget: ONNX Runtime fp32, ONNX Runtime fp16 (≤ 1 mm), ONNX Runtime int8 (≤ 5 mm)" in text
    assert "beyond its budget: ONNX Runtime bf16 (≤ 5 mm)" in text
    assert "published (paper): MPJPE 51.80 mm" in text


def print_models(written: Reports) -> None:
    assert written.models is not None
    report.print_report(written.models)


def test_report_ends_with_what_to_ship(folder: Path, tmp_path: Path, shown: Callable[[], list[str]]) -> None:
    print_models(write_reports([folder]))
    assert "ship openvino bf16" in assert_one_screen(shown())
    other = write_folder(tmp_path / "M", USUAL[:3], model="M", extras=False)
    print_models(write_reports([folder, other], tmp_path / "page"))
    assert "M openvino fp32" in assert_one_screen(shown())


def test_rows_that_find_no_place_are_named(shown: Callable[[], list[str]]) -> None:
    rows = [(f"row {number}", "1") for number in range(screen.MOST_ROWS + 2)]
    screen.Screen(
        head=["head"], columns=("row", "value"), rows=rows, details="all", commands=["convnextpose doctor"]
    ).show()
    assert "details: all (not shown: row 9, row 10)" in assert_one_screen(shown())


def test_a_command_is_named_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/convnextpose"
    program.parent.mkdir()
    program.touch()
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(program.parent))
    assert screen.command("bench", "a b") == "convnextpose bench 'a b'"
    monkeypatch.setenv("PATH", "/nowhere")
    assert runnable("convnextpose bench x") == f"{program} bench x"
    shutil.copy(program, tmp_path / "convnextpose")
    monkeypatch.setenv("PATH", str(tmp_path))  # another installation
    assert executable() == str(program)
    monkeypatch.setattr(sys, "argv", ["cli/main.py"])
    assert executable() == f"{sys.executable} -m cli.main"


def test_an_export_that_was_complete_takes_one_line(folder: Path, shown: Callable[[], list[str]]) -> None:
    manifest = read_manifest(folder / "manifest.json")
    export.print_unchanged(manifest, folder)
    text = " ".join(" ".join(shown()).split())
    assert text == f"S: {folder} is up to date (fp32, fp16, bf16, int8); --verbose shows it"
    agreeing = manifest.model_copy(
        update={"verdict": [r.model_copy(update={"agrees": True}) for r in manifest.verdict]}
    )
    failed = [agreeing.parity[0].model_copy(update={"outcome": "fail"}), *agreeing.parity[1:]]
    assert not export.needs_attention(agreeing)
    assert export.needs_attention(manifest)  # not as declared
    assert export.needs_attention(agreeing.model_copy(update={"parity": failed}))
