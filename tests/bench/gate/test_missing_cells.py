"""Lost and missing cells of the gate: never a silent pass."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gate import compare
from bench.gate.compare import compare_folders
from bench.gate.decision import Comparison
from bench.harness.settings import Settings
from bench.sessions.exported import ExportFolder, read_export
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from export.common.errors import BadInput, NotPossible
from tests.bench.gate.planted import measured_pair

BOTH = ("onnxruntime", "openvino")


def with_precisions(exported: ExportFolder, *precisions: str) -> ExportFolder:
    """Return the export as if its FP32 file existed in these precisions."""
    file = exported.onnx("fp32")
    files = [file.model_copy(update={"precision": precision}) for precision in precisions]
    return replace(exported, manifest=exported.manifest.model_copy(update={"artifacts": files}))


@pytest.fixture
def exported(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> ExportFolder:
    """Nothing is measured: every pair passes."""
    monkeypatch.setattr(compare, "measure_pair", lambda *_: measured_pair())
    monkeypatch.setattr("bench.harness.candidates.cpu_has_bfloat16", lambda: True)
    return read_export(demo_export)


def compared(baseline: ExportFolder, candidate: ExportFolder, runtimes: Sequence[str] = BOTH) -> Comparison:
    return compare_folders(baseline, candidate, runtimes, None, Settings(1, StopRule(budget_s=100), WarmUpRule()))


def outcomes(comparison: Comparison) -> dict[str, str]:
    return {cell.id: cell.outcome for cell in comparison.cells}


def without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: None if name == module else object())


def test_a_precision_that_the_candidate_has_lost_fails(exported: ExportFolder) -> None:
    comparison = compared(with_precisions(exported, "fp32", "int8"), with_precisions(exported, "fp32"))
    assert comparison.outcome == "FAIL"
    assert outcomes(comparison) == {
        "onnxruntime/fp32/b1/t1": "PASS",
        "openvino/fp32/b1/t1": "PASS",
        "onnxruntime/int8": "FAIL",
        "openvino/int8": "FAIL",
    }
    assert comparison.cells[-1].reasons == ("the candidate's export has lost this precision",)


def test_a_lost_precision_fails_though_nothing_else_can_run(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    comparison = compared(with_precisions(exported, "fp32", "int8"), with_precisions(exported, "fp32"), ("openvino",))
    assert comparison.outcome == "FAIL"
    assert outcomes(comparison) == {"openvino/fp32": "INCONCLUSIVE", "openvino/int8": "FAIL"}


def test_a_missing_runtime_is_inconclusive_with_the_reason(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("openvino", monkeypatch)
    comparison = compared(exported, exported)
    assert comparison.outcome == "INCONCLUSIVE"
    cell = next(cell for cell in comparison.cells if cell.id == "openvino/fp32")
    for side, reason in zip(("baseline", "candidate"), cell.reasons, strict=True):
        assert reason.startswith(f"the {side} cannot run here: openvino is not installed")


def test_an_engine_that_only_the_candidate_lacks_is_inconclusive(
    exported: ExportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_engine = with_precisions(exported, "fp32")

    def no_engine(exported: ExportFolder, runtime: str, precision: str) -> str | None:
        return "no engine" if exported is without_engine else None

    monkeypatch.setattr("bench.harness.candidates.no_gpu_runtime", lambda runtime: None)
    monkeypatch.setattr("bench.harness.candidates.no_engine", no_engine)
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: object())
    comparison = compared(with_precisions(exported, "fp32"), without_engine, ("onnxruntime", "tensorrt"))
    cell = next(cell for cell in comparison.cells if cell.id == "tensorrt/fp32")
    assert (cell.outcome, cell.reasons) == ("INCONCLUSIVE", ("the candidate cannot run here: no engine",))
    assert cell.allowed == 0.02


def test_new_precisions_and_impossible_runtimes_are_no_cells(exported: ExportFolder) -> None:
    comparison = compared(with_precisions(exported, "fp32", "bf16"), with_precisions(exported, "fp32", "bf16", "int8"))
    assert comparison.outcome == "PASS"
    assert set(outcomes(comparison)) == {
        f"{cell}/b1/t1" for cell in ("onnxruntime/fp32", "openvino/fp32", "openvino/bf16")
    }


def test_no_runnable_runtime_is_not_possible(exported: ExportFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    without("openvino", monkeypatch)
    with pytest.raises(NotPossible, match="can measure none"):
        compared(exported, exported, ("openvino",))


def test_pytorch_alone_is_nothing_to_compare(exported: ExportFolder) -> None:
    with pytest.raises(BadInput, match="compares nothing"):
        compared(exported, exported, ("pytorch",))


def test_a_model_that_cannot_be_loaded_is_inconclusive(exported: ExportFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = measured_pair()
    measurements.records[compare.CANDIDATE].not_possible = "INT8 saturates on this processor"
    monkeypatch.setattr(compare, "measure_pair", lambda *_: measurements)
    fp32 = with_precisions(exported, "fp32")
    (cell,) = compared(fp32, fp32, ("onnxruntime",)).cells
    assert cell.outcome == "INCONCLUSIVE"
    assert "candidate: INT8 saturates on this processor" in cell.reasons
