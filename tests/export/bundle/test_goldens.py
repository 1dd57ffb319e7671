"""The judgement of joints on the device: the same errors as the export's, and wrong joints fail."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_runtime.runtime.pose import Volume as DeviceVolume
from pose_verify.goldens import Goldens, batch_slices, judge

from export.parity.comparison import NEEDED_SPREAD_MM, summarize_errors
from export.runtime.pose import CUBE_MM, Volume
from tests.support.bundles import rehash, report_of, rewrite, run_here


@pytest.mark.parametrize(
    ("change", "exit_code", "outcome"),
    [
        (lambda truth: truth + 0.1, 1, "fail"),  # 6 mm
        (lambda truth: np.full_like(truth, truth.mean()), 3, "inconclusive"),
        (lambda truth: np.where(np.arange(truth.size).reshape(truth.shape) == 7, np.nan, truth), 3, "inconclusive"),
    ],
)
def test_verifier_judges_joints(bundle: Path, change: Callable[[Any], Any], exit_code: int, outcome: str) -> None:
    with np.load(bundle / "golden.npz") as file:
        arrays = dict(file)
    content = io.BytesIO()
    np.savez(content, **arrays | {"truth": change(arrays["truth"])})
    rewrite(bundle / "golden.npz", lambda _: content.getvalue())
    rehash(bundle)
    run = run_here(bundle / "verify.py", "--runtime", "onnxruntime", "--precision", "fp32", "--seconds", 1)
    assert run.returncode == exit_code, run.stdout + run.stderr
    [row] = [row for row in report_of(bundle / "device-report.json")["results"] if row["asked"]]
    assert (row["status"], row["latency"]) == (outcome, None)  # only what passed is timed
    assert row["reason"] in run.stdout


@pytest.fixture(scope="module")
def goldens() -> Goldens:
    truth = np.random.default_rng(3).uniform(4, 28, (16, 18, 3))
    return Goldens(np.zeros((16, 8, 8, 3), np.uint8), truth, DeviceVolume(32, 64, 256, CUBE_MM))


def test_errors_are_those_of_the_export(goldens: Goldens) -> None:
    bins = (goldens.truth + np.random.default_rng(4).normal(0, 0.01, goldens.truth.shape)).astype(np.float32)
    expected = summarize_errors(goldens.truth, bins, Volume(32, 64, 256))
    parity = judge(goldens, bins, [{"statistic": "max", "allowed_mm": 1e9, "reason": "none"}], NEEDED_SPREAD_MM)
    assert parity["outcome"] == "pass"
    errors = [parity[f"{name}_mm"] for name in ("mean", "p99", "max")]
    np.testing.assert_allclose(errors, [expected.mean_mm, expected.p99_mm, expected.max_mm], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "limits", "outcome"),
    [
        (lambda bins: bins, [("max", 0.0)], "pass"),
        (lambda bins: bins + 1e-3, [("max", 0.01)], "fail"),
        (lambda bins: bins + 1e-3, [("max", 1.0), ("mean", 0.01)], "fail"),
        (lambda bins: bins * np.nan, [("max", 1e9)], "fail"),
        (lambda bins: np.where(bins == bins.max(), np.inf, bins), [("mean", 1e9)], "fail"),
        (lambda bins: bins, [], "inconclusive"),
    ],
)
def test_planted_errors_fail(
    goldens: Goldens, change: Callable[[Any], Any], limits: list[tuple[str, float]], outcome: str
) -> None:
    bounds = [{"statistic": name, "allowed_mm": allowed, "reason": "test"} for name, allowed in limits]
    parity = judge(goldens, change(goldens.truth), bounds, NEEDED_SPREAD_MM)
    assert parity["outcome"] == outcome
    json.dumps(parity, allow_nan=False)


def test_batches_of_one_and_of_many_cover_all_images() -> None:
    assert batch_slices(16, 5) == [slice(0, 1), slice(1, 6), slice(6, 11), slice(11, 16)]
    for count in range(2, 20):
        for largest in range(1, 9):
            parts = [list(range(count))[part] for part in batch_slices(count, largest)]
            assert [index for part in parts for index in part] == list(range(count))
            assert max(map(len, parts)) <= largest
