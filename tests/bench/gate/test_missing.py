"""What a candidate has lost, or this machine cannot run, is a cell of the gate and never a silent pass."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.gate import compare
from bench.gate.compare import Comparison, compare_folders
from bench.harness.entries import Settings
from bench.sessions.exported import ExportFolder, read_export
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from export.common.errors import BadInput, NotPossible
from tests.bench.gate.test_counts import held

BOTH = ("onnxruntime", "openvino")


def holding(exported: ExportFolder, *precisions: str) -> ExportFolder:
    """As if its FP32 file had been exported in these precisions."""
    file = exported.onnx("fp32")
    files = [file.model_copy(update={"precision": precision}) for precision in precisions]
    return replace(exported, manifest=exported.manifest.model_copy(update={"artifacts": files}))


@pytest.fixture
def exported(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> ExportFolder:
    """Sessions are not held: all that is compared passes."""
    monkeypatch.setattr(compare, "hold_pair", lambda *_: held())
    monkeypatch.setattr("bench.harness.candidates.cpu_has_bfloat16", lambda: True)
    return read_export(demo_export)


def compared(base: ExportFolder, candidate: ExportFolder, runtimes: Sequence[str] = BOTH) -> Comparison:
    return compare_folders(base, candidate, runtimes, None, Settings(1, StopRule(budget_s=100), WarmUpRule()))


def outcomes(found: Comparison) -> dict[str, str]:
    return {cell.id: cell.outcome for cell in found.cells}


def without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: None if name == module else object())


def test_a_precision_that_the_candidate_has_lost_fails(exported: ExportFolder) -> None:
    found = compared(holding(exported, "fp32", "int8"), holding(exported, "fp32"))
    assert found.outcome == "FAIL"
    assert outcomes(found) == {
        "onnxruntime/fp32/b1/t1": "PASS",
        "openvino/fp32/b1/t1": "PASS",
        "onnxruntime/int8": "FAIL",
        "openvino/int8": "FAIL",
    }
    assert found.cells[-1].reasons == ("the candidate's export has lost this precision",)


def test_a_lost_precision_fails_though_the_baseline_cannot_run_here_either(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    found = compared(holding(exported, "fp32", "bf16"), holding(exported, "fp32"))
    assert outcomes(found)["openvino/bf16"] == "FAIL"
    assert "onnxruntime/bf16" not in outcomes(found)


def test_a_lost_precision_fails_though_nothing_else_can_run(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    found = compared(holding(exported, "fp32", "int8"), holding(exported, "fp32"), ("openvino",))
    assert found.outcome == "FAIL"
    assert outcomes(found) == {"openvino/fp32": "INCONCLUSIVE", "openvino/int8": "FAIL"}


def test_a_runtime_that_is_missing_is_undecided_and_says_why(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    found = compared(exported, exported)
    assert found.outcome == "INCONCLUSIVE"
    cell = next(cell for cell in found.cells if cell.id == "openvino/fp32")
    assert cell.reasons == tuple(
        f"the {side} cannot run here: openvino is not installed" for side in ("baseline", "candidate")
    )


def test_a_gpu_runtime_that_was_asked_for_is_undecided_without_a_gpu(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.harness.candidates.no_gpu_runtime", lambda runtime: "no NVIDIA driver")
    found = compared(exported, exported, ("onnxruntime", "onnxruntime-cuda"))
    assert found.outcome == "INCONCLUSIVE"
    assert outcomes(found)["onnxruntime-cuda"] == "INCONCLUSIVE"


def test_an_engine_that_only_the_candidate_lacks_is_undecided(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = holding(exported, "fp32")

    def no_engine(of: Any, runtime: str, precision: str) -> str | None:
        return "no engine" if of is lacking else None

    monkeypatch.setattr("bench.harness.candidates.no_gpu_runtime", lambda runtime: None)
    monkeypatch.setattr("bench.harness.candidates.no_engine", no_engine)
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: object())
    found = compared(holding(exported, "fp32"), lacking, ("onnxruntime", "tensorrt"))
    cell = next(cell for cell in found.cells if cell.id == "tensorrt/fp32")
    assert (cell.outcome, cell.reasons) == ("INCONCLUSIVE", ("the candidate cannot run here: no engine",))
    assert cell.allowed == 0.02


def test_what_no_machine_can_run_and_what_is_new_are_no_cells(exported: ExportFolder) -> None:
    found = compared(holding(exported, "fp32", "bf16"), holding(exported, "fp32", "bf16", "int8"))
    assert found.outcome == "PASS"
    assert set(outcomes(found)) == {f"{of}/b1/t1" for of in ("onnxruntime/fp32", "openvino/fp32", "openvino/bf16")}


def test_if_nothing_that_was_asked_for_can_run_it_is_not_possible(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    with pytest.raises(NotPossible, match="nothing that was asked for"):
        compared(exported, exported, ("openvino",))


def test_pytorch_alone_is_nothing_to_compare(exported: ExportFolder) -> None:
    with pytest.raises(BadInput, match="compares nothing"):
        compared(exported, exported, ("pytorch",))


def test_what_turns_out_not_to_run_when_it_is_loaded_says_why(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = held()
    seen.entries[compare.CANDIDATE].not_possible = "INT8 saturates on this processor"
    monkeypatch.setattr(compare, "hold_pair", lambda *_: seen)
    fp32 = holding(exported, "fp32")
    (cell,) = compared(fp32, fp32, ("onnxruntime",)).cells
    assert cell.outcome == "INCONCLUSIVE"
    assert "candidate: INT8 saturates on this processor" in cell.reasons
