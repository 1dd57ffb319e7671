"""Candidates of a machine without a GPU, and the parity check before they are timed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.harness.candidates import find_candidates
from bench.harness.parity_check import ParityCheck
from bench.sessions.exported import read_export
from export.common.errors import BadInput


def test_a_missing_library_is_a_row_with_its_reason(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: None if name == "openvino" else object())
    candidates, skipped = find_candidates(read_export(demo_export), ("onnxruntime", "openvino"), None, 1)
    assert [candidate.runtime for candidate in candidates] == ["pytorch", "onnxruntime"]
    reason = "openvino is not installed: pip install 'convnextpose-deploy[openvino]'"
    assert {(row.runtime, row.reason) for row in skipped} >= {("openvino", reason)}


def test_a_missing_precision_is_refused(demo_export: Path) -> None:
    with pytest.raises(BadInput, match="has no int4"):
        find_candidates(read_export(demo_export), ("onnxruntime",), ("int4",), 1)


def test_without_its_simulation_a_precision_is_inconclusive(demo_export: Path) -> None:
    """On random weights rounding is the only limit: without it anything would pass."""
    check = ParityCheck(read_export(demo_export))
    with np.load(demo_export / "parity/truth.npz") as arrays:
        joints = arrays["truth"][:4]
    assert check("fp32", joints)["outcome"] == "pass"
    parity = check("fp16", joints)
    assert parity["outcome"] == "inconclusive"
    assert "rounding" in parity["reason"]
    assert check("fp4", joints)["outcome"] == "inconclusive"


@pytest.mark.parametrize(("machine", "outcome"), [("x86_64", "fail"), ("aarch64", "pass")])
def test_fp32_sums_of_x86_64_are_held_to_those_of_the_reference(
    demo_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, outcome: str
) -> None:
    """The candidate has four times the error of a reference that is itself 0.05 bins off."""
    exported = read_export(demo_export)
    with np.load(demo_export / "parity/truth.npz") as arrays:
        truth, images = arrays["truth"], arrays["images"]
    (tmp_path / "parity").mkdir()
    np.savez(tmp_path / "parity/truth.npz", truth=truth, reference=truth + 0.05, images=images)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert ParityCheck(replace(exported, path=tmp_path))("fp32", truth + 0.2)["outcome"] == outcome
