"""Every precision holds on nearly released weights and photographs, where those lie beside the project."""

import json
from pathlib import Path

import pytest

from export.manifest import read_manifest
from tests.command_line import convnextpose
from tests.real_weights import needs_real_weights, real_calibration, real_checkpoint, real_parity

pytestmark = needs_real_weights
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
PHOTOGRAPHS = ("--images", str(real_parity()), "--calibration", str(real_calibration()))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    options = ("--precision", ",".join(PRECISIONS), *PHOTOGRAPHS)
    run = convnextpose("export", "XS", "--checkpoint", str(real_checkpoint()), *options, cwd=folder, timeout_s=1800)
    assert run.returncode == 0, run.stderr
    return folder


def test_every_precision_reaches_its_grade_on_photographs(exported: Path) -> None:
    parity = {result["precision"]: result for result in read_manifest(exported / "build/XS/manifest.json").parity}
    assert {precision: parity[precision]["outcome"] for precision in PRECISIONS} == dict.fromkeys(PRECISIONS, "pass")
    assert parity["fp32"]["grade"] == "exact"
    errors = {precision: result["candidate"] for precision, result in parity.items()}
    assert (errors["fp16"]["mean_mm"] <= 0.3, errors["fp16"]["p99_mm"] <= 2.2) == (True, True), errors["fp16"]
    assert (errors["bf16"]["mean_mm"] <= 3.0, errors["bf16"]["p99_mm"] <= 20) == (True, True), errors["bf16"]
    assert (errors["int8"]["mean_mm"] <= 5.0, errors["int8"]["p99_mm"] <= 25) == (True, True), errors["int8"]


def test_half_precision_needs_no_fp32_and_int8_has_most_of_the_multiplies(exported: Path) -> None:
    plans = {p: json.loads((exported / f"build/XS/plan/{p}.json").read_text()) for p in PRECISIONS[1:]}
    for precision in ("fp16", "bf16"):
        assert {conv["precision"] for conv in plans[precision]["convs"]} == {precision}
    assert (plans["fp16"]["aim"], plans["bf16"]["aim"], plans["int8"]["aim"]) == ("near", "usable", "usable")
    convs = plans["int8"]["convs"]
    share = sum(conv["macs"] for conv in convs if conv["precision"] == "int8") / sum(conv["macs"] for conv in convs)
    assert share >= 0.4
