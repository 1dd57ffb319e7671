"""One model on one device: what was measured there, whoever measured it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.accuracy.record import AccuracyLoss, EvaluatedDataset, Evaluation
from bench.report.model_files import ModelFiles
from bench.report.rows import name_of, parity_status, with_trusted_speed_ups
from bench.results.result import NotRunRow, Result, Row
from bench.sessions.exported import TORCH_FORMS
from bench.stats.statistics import Ratio
from export.parity.budgets import GRADES, PASS, REQUIRED_GRADE, within_budget
from export.runtime.processor import limit_note

SIMULATED = "rounding, simulated"
"""The runtime name of an evaluation that simulates rounding: nobody ships it."""


@dataclass(frozen=True)
class Accuracy:
    """The error of one artifact on annotated images."""

    dataset: EvaluatedDataset
    mpjpe_mm: float
    loss: AccuracyLoss | None


@dataclass(frozen=True)
class Measurement:
    """One model on one device. Its rows have passed ``with_trusted_speed_ups``."""

    model: str
    weights: str
    """checkpoint, demo or stand-in."""
    source: str
    """The file or folder that it was read from."""
    command: str
    """Measures it again, or for the first time."""
    device: str = ""
    """Empty on a page of one machine."""
    rows: tuple[Row, ...] = ()
    not_run: tuple[NotRunRow, ...] = ()
    control: Ratio | None = None
    """Two instances of the reference, one over the other."""
    reference: str = "PyTorch"
    """The baseline of the speed-ups."""
    evaluations: tuple[Evaluation, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """Properties of the machine: hardware, software, settings."""
    complete: bool = True
    missing: str | None = None
    """The reason if nothing was measured."""
    export: ModelFiles | None = None
    """The folder of the export or of the fleet's job; a device report has none."""

    @property
    def label(self) -> str:
        """The name among other measurements: ``S on orin``."""
        return f"{self.model} on {self.device}" if self.device else self.model

    @property
    def result(self) -> Result | None:
        """The benchmark."""
        return self.export.result if self.export else None

    @property
    def tolerance(self) -> float:
        """By how much two processes of one artifact may differ: the reach of the control's interval."""
        return self.control.reach if self.control else 0.0

    def allowed_mm(self, precision: str) -> float | None:
        """Return the mean error that a precision may have."""
        required = self.export.manifest.grade_required(precision) if self.export else None
        grade = required or REQUIRED_GRADE.get(precision)
        return GRADES[grade].mean_mm if grade in GRADES else None

    def parity_text(self, row: Row) -> str:
        """Return the parity of a row; a pass that allows an error says how large it may be."""
        status, allowed_mm = parity_status(row) or "not judged", self.allowed_mm(row.precision)
        if status != PASS or allowed_mm is None:
            return status
        return within_budget(row.precision, allowed_mm)

    def accuracy_of(self, row: Row) -> list[Accuracy]:
        """Return the evaluations of the file that a row runs: by the same runtime, otherwise by others."""
        if row.artifact_sha256 is None and row.runtime not in TORCH_FORMS:
            return []
        every = [
            (evaluated.run_by.split()[0], Accuracy(evaluation.dataset, evaluated.mpjpe_mm, evaluated.accuracy_loss_mm))
            for evaluation in self.evaluations
            for evaluated in evaluation.rows
            if evaluated.sha256 == row.artifact_sha256
            and evaluated.runtime != SIMULATED
            and evaluated.mpjpe_mm is not None
        ]
        own = [accuracy for runtime, accuracy in every if runtime == row.runtime]
        return own or [accuracy for _, accuracy in every]


def references_of(measurements: Sequence[Measurement]) -> str:
    """Say what the speed-ups of these measurements are over."""
    names = dict.fromkeys(measurement.reference for measurement in measurements if measurement.rows)
    return f"{' or '.join(names) or 'the reference'} on the same device, in the same rounds"


def measurement_of(files: ModelFiles, command: str) -> Measurement:
    """Return what was measured of an export on this machine."""
    result, manifest = files.result, files.manifest
    rows = with_trusted_speed_ups(result.rows) if result else ()
    return Measurement(
        model=manifest.model,
        weights=manifest.weights.origin,
        source=str(files.folder),
        command=command,
        rows=rows,
        not_run=tuple(result.not_run) if result else (),
        control=result.control if result else None,
        reference=next((name_of(row) for row in rows if row.is_reference), "PyTorch"),
        evaluations=files.evaluations,
        facts=facts_of(result) if result else {},
        complete=result.complete if result else True,
        missing=None if result else "nothing was benchmarked",
        export=files,
    )


def facts_of(result: Result) -> dict[str, str]:
    """Return what a benchmark was run on: hardware, system, and the version of every library."""
    environment = result.environment
    host, software = environment.get("host", {}), environment.get("software", {})
    gpus = environment.get("gpus") or ()
    system = " ".join(str(host[name]) for name in ("system", "machine") if host.get(name))
    cores = f"{host.get('usable_cores', '?')} usable{limit_note(host.get('cpu_limit'))}"
    known = {
        "processor": str(host.get("cpu", "unknown")),
        "cores": f"{cores}; threads of each row: {result.protocol['threads']}",
        "memory": f"{host['memory_mib'] / 1024:.1f} GiB" if host.get("memory_mib") else "",
        "GPU": ", ".join(str(gpu.get("name")) for gpu in gpus) or "none",
        "GPU driver": ", ".join(str(gpu.get("driver")) for gpu in gpus),
        "governor": str(host.get("governor") or "unknown"),
        "system": f"{system}, virtual machine" if host.get("virtual") else system,
        "measured": f"{result.created}, {result.mode} mode, {result.rounds} rounds",
        "fingerprint": f"{result.fingerprint}; results of another are never compared in milliseconds",
        "Python": str(software.get("python", "unknown")),
        **{str(name): str(version) for name, version in software.get("libraries", {}).items()},
    }
    return {name: value for name, value in known.items() if value}
