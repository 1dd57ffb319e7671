"""How far models are from the truth on annotated images: all of them on the same crops, in one run.

Samples stream: the next batch is read while this one is run, and nothing is kept of a sample but sums. The sums
are saved every few seconds, so that a run that was stopped goes on where it was.
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

from bench.accuracy.tally import Tally, judge_sample
from bench.datasets.protocol import Dataset, Sample
from bench.sessions.exported import ExportFolder
from bench.sessions.inference import require_mirrors, run_network
from bench.sessions.protocol import Session
from export.common.errors import BadInput
from export.common.files import whole_file
from export.common.interface import variant_of
from export.common.progress import Progress
from export.model.pose import Array

SAVE_EVERY_S = 5.0
READERS = 2
"""Threads that read images; OpenCV lets go of Python's lock while it decodes."""


@dataclass
class EvaluatedModel:
    """A model that is judged, and how it did so far."""

    backend: Session
    sha256: str | None
    """Of the artefact; None for the reference, which the weights' hash identifies."""
    is_reference: bool = False
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    """Spent in the backend, normalisation included."""
    label: str = ""
    """Name under which parity knows the runtime, or the simulation."""

    @property
    def runtime(self) -> str:
        """The runtime's name in results."""
        return self.label or self.backend.runtime

    @property
    def name(self) -> str:
        """Tells it from the others."""
        variant = variant_of(self.backend.precision, takes_pixels=self.backend.takes_pixels)
        return f"{self.runtime} {variant}"


@dataclass
class Run:
    """One evaluation, under way."""

    key: dict[str, Any]
    """Everything that its result depends on; sums of another key are of no use."""
    state: Path
    done: int = 0
    seconds: float = 0.0

    def resume(self, models: Sequence[EvaluatedModel]) -> None:
        """Take up the sums of a run that was stopped, if they are of this key."""
        with suppress(OSError, EOFError, ValueError, KeyError, BadZipFile), np.load(self.state) as saved:
            header = json.loads(str(saved["header"]))
            if header["key"] != self.key:
                return
            tallies = [
                Tally({k.removeprefix(f"{c.name}/"): saved[k] for k in saved.files if k.startswith(f"{c.name}/")})
                for c in models
            ]
            for model, tally in zip(models, tallies, strict=True):
                model.tally, model.seconds = tally, header["contender_seconds"][model.name]
            self.done, self.seconds = header["done"], header["seconds"]

    def save(self, models: Sequence[EvaluatedModel]) -> None:
        """Write the sums, whole."""
        spent = {model.name: model.seconds for model in models}
        header = {"key": self.key, "done": self.done, "seconds": self.seconds, "contender_seconds": spent}
        arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
        arrays |= {f"{c.name}/{name}": array for c in models for name, array in c.tally.arrays.items()}
        with whole_file(self.state) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    def forget(self) -> None:
        """Remove the sums: the result is written."""
        self.state.unlink(missing_ok=True)


def require_fitting(exported: ExportFolder, dataset: Dataset, *, flip: bool) -> None:
    """See that the dataset's joints are the model's, and that mirrored images make sense where they are asked for.

    Raises:
        BadInput: they are not, or do not.
    """
    if flip and not dataset.mirrors:
        raise BadInput("mirroring makes no sense", f"{dataset.name}: left and right have colours", "leave --flip away")
    if flip:
        require_mirrors(exported)
    ours, theirs = exported.joint_set, dataset.joint_set
    if ours != theirs:
        raise BadInput(
            f"{dataset.name} does not have the model's joints",
            f"the model: {ours.name}; the dataset: {theirs.name} ({len(theirs.joints)} joints)",
            "evaluate on a dataset with the model's joints, or a model that was trained on this dataset's",
        )


def evaluate(
    exported: ExportFolder,
    dataset: Dataset,
    models: Sequence[EvaluatedModel],
    run: Run,
    *,
    batch: int,
    flip: bool,
    progress: Progress,
) -> None:
    """Run every model on every sample that ``run`` has not done; the sums are in the models.

    Raises:
        BadInput: an image cannot be read.
    """
    pairs = dataset.joint_set.mirror_pairs if flip else None
    began, before, saved = time.perf_counter(), run.seconds, time.perf_counter()
    for samples in _batches(dataset, run.done, batch):
        crops = np.stack([sample.crop for sample in samples])
        seen: dict[str, Array] = {}
        inputs: dict[tuple[bool, bool], Any] = {}
        for model in models:
            start = time.perf_counter()
            seen[model.name] = run_network(model.backend, crops, exported.volume, pairs, inputs)
            model.seconds += time.perf_counter() - start
        _judge(dataset, samples, models, seen, exported)
        run.done += len(samples)
        now = time.perf_counter()
        run.seconds = before + now - began
        if now - saved >= SAVE_EVERY_S:
            run.save(models)
            saved = now
        progress(f"{run.done} of {len(dataset)} samples", run.done / len(dataset))
    run.save(models)


def _judge(
    dataset: Dataset,
    samples: Sequence[Sample],
    models: Sequence[EvaluatedModel],
    seen: Mapping[str, Array],
    exported: ExportFolder,
) -> None:
    reference = next((model for model in models if model.is_reference), None)
    for index, sample in enumerate(samples):
        errors: dict[str, float | None] = {}
        for model in models:
            compared = None if reference is None or model is reference else seen[reference.name][index]
            bins = seen[model.name][index]
            errors[model.name] = judge_sample(model.tally, dataset, sample, exported.volume, bins, compared)
        floor = errors[reference.name] if reference else None
        for model in models:
            own = errors[model.name]
            if model is not reference and own is not None and floor is not None:
                model.tally.add_price(own - floor)


def _batches(dataset: Dataset, first: int, size: int) -> Iterator[list[Sample]]:
    """The samples from ``first`` on; the next batch is being read while one is in use."""
    with ThreadPoolExecutor(READERS) as readers:
        ahead: list[Future[Sample]] = []
        upcoming = iter(range(first, len(dataset)))

        def fetch() -> None:
            ahead.extend(readers.submit(dataset.sample, i) for _, i in zip(range(size), upcoming, strict=False))

        fetch()
        try:
            while ahead:
                now, ahead[:] = ahead[:], []
                fetch()
                yield [future.result() for future in now]
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
