"""What a benchmark can compare on a machine, and how a precision is judged before it is timed."""

from pathlib import Path

import numpy as np
import pytest

from bench.harness.candidates import find_candidates
from bench.harness.timed_parity import ParityJudge
from bench.sessions.exported import read_export
from export.common.errors import BadInput


def test_a_missing_library_is_a_row_with_its_reason(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: None if name == "openvino" else object())
    found, not_run = find_candidates(read_export(demo_export), ("onnxruntime", "openvino"), None, 1)
    assert [candidate.runtime for candidate in found] == ["pytorch", "onnxruntime"]
    assert {(row.runtime, row.reason) for row in not_run} >= {("openvino", "openvino is not installed")}


def test_a_precision_that_is_not_there_is_refused(demo_export: Path) -> None:
    with pytest.raises(BadInput, match="has no int4"):
        find_candidates(read_export(demo_export), ("onnxruntime",), ("int4",), 1)


def test_without_the_rounded_reference_a_precision_is_not_judged(demo_export: Path) -> None:
    """On weights that were never trained rounding is the only limit: without it anything would pass."""
    judge = ParityJudge(read_export(demo_export))
    with np.load(demo_export / "parity/truth.npz") as known:
        joints = known["truth"][:4]
    assert judge("fp32", joints)["outcome"] == "pass"
    found = judge("fp16", joints)
    assert found["outcome"] == "inconclusive"
    assert "rounding" in found["reason"]
    assert judge("fp4", joints)["outcome"] == "inconclusive"
