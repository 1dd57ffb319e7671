"""Evaluation: the same crops for all models, resumable sums, and figures with known answers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bench.accuracy.evaluation
from bench.accuracy.assemble import evaluation_of, published, require_finite, run_key
from bench.accuracy.evaluation import EvaluatedModel, Run, evaluate, require_fitting
from bench.accuracy.record import Evaluation
from bench.accuracy.tally import Tally
from bench.datasets.drawn import DrawnFigures
from bench.datasets.protocol import Sample
from bench.sessions.exported import ExportFolder, read_export
from export.common.errors import BadInput, CheckFailed
from export.common.progress import no_progress
from export.images.figures import EVALUATION_SEED, draw_figures
from export.model.camera import Array
from export.model.joint_sets import MUCO

COUNT, BATCH = 12, 4
TRUE_BINS = np.stack([figure.joints_bins(32, 32) for figure in draw_figures(COUNT, EVALUATION_SEED)])


class Oracle:
    """A session that knows the answers, with a planted error; it sees no image twice."""

    takes_pixels = True

    def __init__(self, runtime: str, error_bins: Array | None = None, first: int = 0) -> None:
        self.runtime, self.precision = runtime, "fp32"
        self.answers = TRUE_BINS + (0 if error_bins is None else error_bins)
        self.next = first
        self.largest = 0

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        start, self.next = self.next, self.next + len(images)
        self.largest = max(self.largest, len(images))
        return self.answers[start : self.next].astype(np.float32)

    def describe(self) -> str:
        return "oracle"

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def demo_export(demo_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: results are written into it."""
    return Path(shutil.copytree(demo_export, tmp_path_factory.mktemp("evaluate") / "XS-atto"))


@pytest.fixture
def exported(demo_export: Path) -> ExportFolder:
    return read_export(demo_export)


def pair(error_bins: Array | None = None, first: int = 0) -> list[EvaluatedModel]:
    return [
        EvaluatedModel(Oracle("sure", first=first), None, is_reference=True),
        EvaluatedModel(Oracle("unsure", error_bins, first=first), None),
    ]


def run_on(
    exported: ExportFolder, dataset: Any, models: list[EvaluatedModel], state: Path, key: str = "key"
) -> dict[str, Any]:
    run = Run({"key": key}, state, models)
    run.resume()
    evaluate(exported, dataset, run, batch=BATCH, flip=False, progress=no_progress)
    evaluation = evaluation_of(exported, dataset, run, flip=False)
    return dict(json.loads(evaluation.model_dump_json()))


def figures_of(record: dict[str, Any]) -> Any:
    """Return the figures that must not depend on when a run was stopped."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in record["contenders"]]


def test_exact_answers_have_no_error(exported: ExportFolder, tmp_path: Path) -> None:
    sure, unsure = run_on(exported, DrawnFigures(COUNT, 256), pair(), tmp_path / "s.npz")["contenders"]
    for row in (sure, unsure):
        assert row["mpjpe_mm"] < 1e-2  # float32 bins
        assert row["pa_mpjpe_mm"] < 1e-2
        assert row["error_px"] < 1e-2
    assert sure["price_mm"] is None
    assert unsure["price_mm"]["mean"] == 0
    assert unsure["drift_mm"] == {"mean": 0, "max": 0}


def test_an_error_in_depth_is_found_in_every_measure(exported: ExportFolder, tmp_path: Path) -> None:
    """One joint of the 17 counted, half a bin deep: 2000 / 32 / 2 mm along the ray, at the joint's own place."""
    error = np.zeros((COUNT, 18, 3))
    error[:, 2, 2] = 0.5
    _, row = run_on(exported, DrawnFigures(COUNT, 256), pair(error), tmp_path / "s.npz")["contenders"]
    knee = row["joints"]["mpjpe_mm"][2]
    assert 31.25 <= knee < 33  # a ray that is not the axis is a little longer
    assert row["mpjpe_mm"] == pytest.approx(knee / 17, abs=0.01)
    assert 0 < row["pa_mpjpe_mm"] < row["mpjpe_mm"] * 2
    assert row["drift_mm"]["max"] == pytest.approx(31.25, abs=1e-3)
    assert row["drift_mm"]["mean"] == pytest.approx(31.25 / 18, abs=1e-3)
    loss = row["price_mm"]
    assert loss["mean"] == pytest.approx(row["mpjpe_mm"], abs=0.01)
    assert loss["low"] <= loss["mean"] <= loss["high"] < loss["low"] + 0.5


def test_the_thorax_does_not_count(exported: ExportFolder, tmp_path: Path) -> None:
    error = np.zeros((COUNT, 18, 3))
    error[:, 17] = 5
    _, row = run_on(exported, DrawnFigures(COUNT, 256), pair(error), tmp_path / "s.npz")["contenders"]
    assert row["mpjpe_mm"] < 1e-2
    assert row["joints"]["mpjpe_mm"][17] is None


class Grouped(DrawnFigures):
    """Figures in two groups, of which the second has no truth in mm and lacks a joint."""

    def sample(self, index: int) -> Sample:
        sample = super().sample(index)
        if index % 2:
            annotated = sample.annotated.copy()
            annotated[3] = False
            return replace(sample, group="odd", joints_mm=None, annotated=annotated)
        return replace(sample, group="even")


def test_groups_and_missing_annotations(exported: ExportFolder, tmp_path: Path) -> None:
    error = np.zeros((COUNT, 18, 3))
    error[1::2, 3, 0] = 9  # only where nothing is annotated
    error[0::2, 5, 0] = 1
    _, row = run_on(exported, Grouped(COUNT, 256), pair(error), tmp_path / "s.npz")["contenders"]
    assert row["groups"]["odd"]["error_px"] < 1e-2
    assert row["groups"]["odd"]["mpjpe_mm"] is None
    assert row["groups"]["even"]["mpjpe_mm"] > 1
    assert row["groups"]["even"]["mpjpe_mm"] == row["mpjpe_mm"]


class Breaks(DrawnFigures):
    """A disk that gives up in the middle."""

    def sample(self, index: int) -> Sample:
        if index >= 8:
            raise BadInput("cannot read the image", f"figure {index}", "mend the disk")
        return super().sample(index)


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
    exported: ExportFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.accuracy.evaluation, "SAVE_EVERY_S", 0)
    error = np.random.default_rng(0).normal(0, 1, (COUNT, 18, 3))
    state = tmp_path / "s.npz"
    with pytest.raises(BadInput):
        run_on(exported, Breaks(COUNT, 256), pair(error), state)
    kept = state.read_bytes()
    resumed = run_on(exported, DrawnFigures(COUNT, 256), pair(error, first=8), state)
    at_once = run_on(exported, DrawnFigures(COUNT, 256), pair(error), tmp_path / "other.npz")
    assert figures_of(resumed) == figures_of(at_once)
    state.write_bytes(kept)
    other_key = run_on(exported, DrawnFigures(COUNT, 256), pair(error), state, key="another")
    assert figures_of(other_key) == figures_of(at_once)
    state.write_bytes(kept[:-200])
    damaged = run_on(exported, DrawnFigures(COUNT, 256), pair(error), state)
    assert figures_of(damaged) == figures_of(at_once)
    state.write_bytes(b"")
    emptied = run_on(exported, DrawnFigures(COUNT, 256), pair(error), state)
    assert figures_of(emptied) == figures_of(at_once)


class Counting(DrawnFigures):
    """Figures that count how far ahead they are read."""

    requested = 0

    def sample(self, index: int) -> Sample:
        self.requested = max(self.requested, index + 1)
        return super().sample(index)


def test_samples_stream(exported: ExportFolder, tmp_path: Path) -> None:
    """No more than the batch in use and the next are read ahead, and batches are as large as was asked."""
    dataset, models = Counting(COUNT, 256), pair()
    oracle = models[0].session
    assert isinstance(oracle, Oracle)
    ahead = []
    run = Run({}, tmp_path / "s.npz", models)

    def progress(text: str, share: float | None = None) -> None:
        ahead.append(dataset.requested - oracle.next)

    evaluate(exported, dataset, run, batch=BATCH, flip=False, progress=progress)
    assert max(ahead) <= BATCH
    assert oracle.largest == BATCH
    sizes = {array.size for model in models for array in model.tally.arrays.values()}
    assert max(sizes) <= 2 * 18


def test_nan_fails_and_stays_nan(exported: ExportFolder, tmp_path: Path) -> None:
    error = np.zeros((COUNT, 18, 3))
    error[5, 2] = np.nan
    record = run_on(exported, DrawnFigures(COUNT, 256), pair(error), tmp_path / "s.npz")
    assert record["contenders"][1]["mpjpe_mm"] is None
    assert record["contenders"][1]["drift_mm"]["max"] is None
    json.dumps(record, allow_nan=False)
    with pytest.raises(CheckFailed) as failed:
        require_finite(Evaluation.model_validate(record))
    assert "unsure" in failed.value.detail


def test_other_joints_and_impossible_mirroring_are_refused(exported: ExportFolder) -> None:
    dataset = DrawnFigures(COUNT, 256)
    require_fitting(exported, dataset, flip=False)
    with pytest.raises(BadInput, match="mirrored"):
        require_fitting(exported, dataset, flip=True)
    other = DrawnFigures(COUNT, 256)
    other.joint_set = MUCO
    with pytest.raises(BadInput, match="joints"):
        require_fitting(exported, other, flip=False)
    with pytest.raises(BadInput, match="256 pixels"):
        DrawnFigures(COUNT, 128)


def test_the_interval_of_the_accuracy_loss() -> None:
    """Against numpy's own mean and standard deviation."""
    differences = np.random.default_rng(0).normal(0.3, 2, 500)
    tally = Tally()
    for difference in differences:
        tally.add_accuracy_loss(float(difference))
    loss = tally.accuracy_loss()
    assert loss is not None
    mean, low, high = (float(value or 0) for value in loss)
    half = 1.96 * differences.std(ddof=1) / np.sqrt(500)
    np.testing.assert_allclose([mean, low, high], [differences.mean() + d for d in (0, -half, half)])


def test_published_figures_of_a_matching_dataset() -> None:
    dataset = DrawnFigures(COUNT, 256)
    assert published("L", dataset) == []
    dataset.published = "mpjpe_mm"
    assert {"source": "paper", "mpjpe_mm": "49.75"} in published("L", dataset)
    assert published("somebody's own", dataset) == []


def test_a_key_holds_what_a_result_depends_on(exported: ExportFolder) -> None:
    def key(count: int = COUNT, sha256: str = "a", flip: bool = False) -> dict[str, Any]:
        models = [EvaluatedModel(Oracle("sure"), sha256)]
        return run_key(exported, DrawnFigures(count, 256), models, flip)

    assert key() == key()
    assert len({json.dumps(k) for k in (key(), key(count=13), key(sha256="b"), key(flip=True))}) == 4
