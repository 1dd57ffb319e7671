"""What one device said about one model: what a job of a fleet and a device's own report both become."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import theme
from bench.report.recommend import Recommendation, recommend
from bench.report.subject import Row, SpeedUp

NOT_ASKED = "not asked for there"


@dataclass(frozen=True)
class Device:
    """One device."""

    name: str
    """What it is called everywhere on the page."""
    machine: str
    """What tells machines apart that stood in for one device."""
    about: tuple[tuple[str, str], ...]
    """Property and value: hardware, software, settings."""


@dataclass(frozen=True)
class Told:
    """One device and one model. ``missing``: why there is nothing else."""

    device: Device
    model: str
    source: str
    """File or folder that it was read from."""
    weights: str = "checkpoint"
    rows: tuple[Row, ...] = ()
    not_run: tuple[tuple[str, str], ...] = ()
    """(runtime or runtime and precision, why)."""
    control: SpeedUp | None = None
    """Two instances of the reference, one over the other."""
    reference: str | None = None
    """The row that speed-ups are over, on this very device."""
    complete: bool = True
    remarks: tuple[tuple[str, str], ...] = ()
    """(what else was not tested there, why)."""
    missing: str | None = None
    command: str | None = None
    """What does what is missing."""
    folder: Path | None = None
    """Whose own page is that of this device and this model alone."""

    @property
    def recommended(self) -> Recommendation:
        """What to ship of this model on this device."""
        if self.missing is not None:
            return Recommendation(None, f"Nothing was measured: {self.missing}.")
        return recommend(self.rows, self.weights, self.control)

    def row(self, name: str) -> Row | None:
        """The row of this runtime and precision."""
        return next((row for row in self.rows if row.name == name), None)

    def why_not(self, name: str) -> str:
        """Why there is no such row."""
        if self.missing is not None:
            return self.missing
        runtime = name.split()[0]
        return next((why for what, why in self.not_run if what in (name, runtime)), NOT_ASKED)


@dataclass(frozen=True)
class Devices:
    """All that a page of devices is made of."""

    title: str
    subtitle: str
    told: tuple[Told, ...]
    reference: str
    """What speed-ups are over, in words."""
    idle: tuple[tuple[str, str, str], ...] = ()
    """(device, its state, why): it was seen and given no work, or no more of it."""
    notices: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    """Which make it again."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the devices, in the order in which they were named."""
        return tuple(dict.fromkeys(one.device.name for one in self.told))

    @property
    def models(self) -> tuple[str, ...]:
        """In the order in which they were named."""
        return tuple(dict.fromkeys(one.model for one in self.told))

    def of(self, model: str) -> tuple[Told, ...]:
        """What devices said about it."""
        return tuple(one for one in self.told if one.model == model)

    def at(self, device: str, model: str) -> Told | None:
        """What this device said about it."""
        return next((one for one in self.told if (one.device.name, one.model) == (device, model)), None)


def row_names(told: Sequence[Told]) -> list[str]:
    """Every runtime and precision that some device has run, references first, in the order of all tables."""
    rows = {row.name: row for one in told for row in one.rows}
    references = {row.name for one in told for row in one.rows if row.is_reference}
    return sorted(
        rows, key=lambda name: (name not in references, *theme.place(rows[name].runtime, rows[name].precision))
    )
