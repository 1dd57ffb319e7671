"""Evaluation of models on annotated images: all of them on the same crops, in one run.

The next batch is read while this one is run, and only sums are kept. They are saved every few seconds, so that a
stopped run can be resumed.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bench.accuracy.tally import Tally, add_sample
from bench.datasets.protocol import Dataset, Sample
from bench.sessions.exported import PYTORCH, ExportFolder, load_session
from bench.sessions.inference import require_mirrors, run_network
from bench.sessions.protocol import Session
from export.common.errors import BadInput
from export.common.files import whole_file
from export.common.interface import precision_of, variant_of
from export.common.progress import Progress
from export.model.camera import Array
from export.parity.sessions import parity_runtimes

SAVE_EVERY_S = 5.0
READERS = 2
"""Threads that read images; OpenCV releases Python's lock while it decodes."""


@dataclass
class EvaluatedModel:
    """A session, and the sums of its errors so far."""

    session: Session
    sha256: str | None
    """Hash of the artifact; None for the reference, which the weights' hash identifies."""
    is_reference: bool = False
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    """Time in the session, normalisation included."""
    label: str = ""
    """Parity's name of the runtime, or of the simulation."""

    @property
    def runtime(self) -> str:
        """Name of the runtime in results."""
        return self.label or self.session.runtime

    @property
    def name(self) -> str:
        """Unique name."""
        variant = variant_of(self.session.precision, takes_pixels=self.session.takes_pixels)
        return f"{self.runtime} {variant}"


def open_models(exported: ExportFolder, variants: str | None, *, reference: bool) -> list[EvaluatedModel]:
    """Load the reference, and every ONNX file of these variants (separated by commas; None: all of them).

    A file is run in each of its parity's runtimes: a runtime may compute in another type than the file's, and then
    only the simulation has the error of a device that computes in it.

    Raises:
        BadInput: a variant without a file, or nothing to evaluate.
    """
    models = []
    selected = exported.variants if variants is None else exported.select_variants(variants)
    if reference:
        models.append(EvaluatedModel(load_session(exported, PYTORCH, "fp32"), None, is_reference=True))
    for variant in selected:
        artifact, precision = exported.onnx(variant), precision_of(variant)
        for runtime in parity_runtimes(precision)[0]:
            session = runtime.open(exported.path / artifact.path, precision)
            models.append(EvaluatedModel(session, artifact.sha256, label=runtime.name))
    if not models:
        advice = f"export {exported.manifest.model} first"
        raise BadInput("there is nothing to evaluate", "no ONNX file in the folder, and --no-reference", advice)
    return models


@dataclass
class Run:
    """One evaluation in progress."""

    key: dict[str, Any]
    """Everything that its result depends on; sums with another key are not resumed."""
    state: Path
    models: Sequence[EvaluatedModel]
    done: int = 0
    """Number of evaluated samples."""
    seconds: float = 0.0

    def resume(self) -> None:
        """Load the sums of a stopped run with the same key."""
        with suppress(OSError, EOFError, ValueError, KeyError, BadZipFile), np.load(self.state) as saved:
            header = json.loads(str(saved["header"]))
            if header["key"] != self.key:
                return
            tallies = [
                Tally({key.removeprefix(prefix): saved[key] for key in saved.files if key.startswith(prefix)})
                for prefix in (f"{model.name}/" for model in self.models)
            ]
            for model, tally, seconds in zip(self.models, tallies, header["model_seconds"], strict=True):
                model.tally, model.seconds = tally, seconds
            self.done, self.seconds = header["done"], header["seconds"]

    def save(self) -> None:
        """Write the sums."""
        model_seconds = [model.seconds for model in self.models]
        header = {"key": self.key, "done": self.done, "seconds": self.seconds, "model_seconds": model_seconds}
        arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
        for model in self.models:
            arrays |= {f"{model.name}/{name}": array for name, array in model.tally.arrays.items()}
        with whole_file(self.state) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    def remove_state(self) -> None:
        """Remove the saved sums, after the result is written."""
        self.state.unlink(missing_ok=True)


def require_fitting(exported: ExportFolder, dataset: Dataset, *, flip: bool) -> None:
    """Check that the dataset has the model's joints, and that its images may be mirrored if ``flip``.

    Raises:
        BadInput: one of them is not true.
    """
    if flip and not dataset.mirrors:
        detail = f"{dataset.name}: left and right have colours"
        raise BadInput("images of this dataset cannot be mirrored", detail, "leave --flip away")
    if flip:
        require_mirrors(exported)
    network, annotated = exported.joint_set, dataset.joint_set
    if network != annotated:
        raise BadInput(
            f"{dataset.name} does not have the model's joints",
            f"the model: {network.name}; the dataset: {annotated.name} ({len(annotated.joints)} joints)",
            "evaluate on a dataset with the model's joints, or a model that was trained on this dataset's",
        )


def evaluate(exported: ExportFolder, dataset: Dataset, run: Run, *, batch: int, flip: bool, progress: Progress) -> None:
    """Run every model on the remaining samples.

    Raises:
        BadInput: an image cannot be read.
    """
    pairs = dataset.joint_set.mirror_pairs if flip else None
    start, before, saved = time.perf_counter(), run.seconds, time.perf_counter()
    for samples in _batches(dataset, run.done, batch):
        crops = np.stack([sample.crop for sample in samples])
        bins: dict[str, Array] = {}
        inputs: dict[tuple[bool, bool], Any] = {}
        for model in run.models:
            model_start = time.perf_counter()
            bins[model.name] = run_network(model.session, crops, exported.volume, pairs, inputs)
            model.seconds += time.perf_counter() - model_start
        _add_errors(dataset, samples, run.models, bins, exported)
        run.done += len(samples)
        now = time.perf_counter()
        run.seconds = before + now - start
        if now - saved >= SAVE_EVERY_S:
            run.save()
            saved = now
        progress(f"{run.done} of {len(dataset)} samples", run.done / len(dataset))
    run.save()


def _add_errors(
    dataset: Dataset,
    samples: Sequence[Sample],
    models: Sequence[EvaluatedModel],
    bins: Mapping[str, Array],
    exported: ExportFolder,
) -> None:
    """Add the errors of a batch, given each model's (N, J, 3) bins."""
    reference = next((model for model in models if model.is_reference), None)
    for index, sample in enumerate(samples):
        errors_mm: dict[str, float | None] = {}
        for model in models:
            compared = None if reference is None or model is reference else bins[reference.name][index]
            errors_mm[model.name] = add_sample(
                model.tally, dataset, sample, exported.volume, bins[model.name][index], compared
            )
        reference_mm = errors_mm[reference.name] if reference else None
        for model in models:
            error_mm = errors_mm[model.name]
            if model is not reference and error_mm is not None and reference_mm is not None:
                model.tally.add_accuracy_loss(error_mm - reference_mm)


def _batches(dataset: Dataset, first: int, size: int) -> Iterator[list[Sample]]:
    """Yield batches of samples from ``first`` on; read the next batch while one is in use."""
    with ThreadPoolExecutor(READERS) as readers:
        ahead: list[Future[Sample]] = []
        upcoming = iter(range(first, len(dataset)))

        def fetch() -> None:
            ahead.extend(readers.submit(dataset.sample, i) for _, i in zip(range(size), upcoming, strict=False))

        fetch()
        try:
            while ahead:
                current, ahead[:] = ahead[:], []
                fetch()
                yield [future.result() for future in current]
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
