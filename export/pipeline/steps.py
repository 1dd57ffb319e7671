"""A step is a function from files to files. What was made from the same inputs is not made again.

A step's key is everything that its result depends on: the content of its inputs, its options, the
versions of what it runs, and this project's own code. A step works in a folder of its own; what it
made moves to its place when it has ended well, and the key is written last. A step that fails, or is
interrupted while it works, changes nothing; whatever was made from files that it replaces is removed.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from export.common.errors import Failure
from export.common.files import (
    PARTIAL_PREFIX,
    PROJECT,
    WRITE_ERRORS,
    sha256_file,
    sweep_partials,
    write_error,
    write_json,
)
from export.common.progress import Progress, StepObserver

RECORDS = ".steps"
NOT_MADE_YET = "(not made yet)"

WHOLE = "manifest.json"
"""The file that says that a folder is whole. It goes when a step replaces files, and is written last."""

Work = Callable[[Path, Progress], dict[str, Any]]
"""Makes a step's files in the given folder, and returns what is worth knowing as plain data."""


@dataclass(frozen=True)
class Step:
    """What a step depends on, and the files that it makes (paths within the folder)."""

    name: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name → sha256."""
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    """Distributions whose version matters."""
    code: tuple[str, ...] = ("export",)
    """The packages of this project whose code makes it."""
    in_manifest: bool = True
    """True if the manifest lists its files; new files then make an earlier manifest out of date."""

    @property
    def key(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON would read it back."""
        key = {
            "inputs": dict(self.inputs),
            "options": dict(self.options),
            "tools": {tool: version(tool) for tool in self.tools},
            "code": {package: sha256_code(package) for package in self.code},
        }
        return dict(json.loads(json.dumps(key)))


@dataclass(frozen=True)
class Made:
    """What a step left: its files' hashes, and what it said about them."""

    outputs: Mapping[str, str]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class NotBuilt:
    """An engine that could not be built here; the next run tries again."""

    status: Literal["not run", "failed"]
    reason: str
    failure: Failure | None = None
    """The error of a failed build."""


class Folder:
    """One model's output folder, with the records of the steps that filled it."""

    def __init__(self, path: Path, observer: StepObserver, *, only_ask: bool = False) -> None:
        self.path = path
        self.observer = observer
        self.only_ask = only_ask

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this run alone. At the beginning and at the end, no step's half work is left in it.

        Raises:
            BadInput: the folder cannot be written.
        """
        if self.only_ask and not self.path.is_dir():
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self.observer.waiting(str(self.path))
                lock.acquire()
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            self._sweep()
            yield
        finally:
            try:
                self._sweep()  # an interrupt may come before the folder that a step works in is its own
            finally:
                lock.release()

    def _sweep(self) -> None:
        for place in (self.path, self.path / RECORDS):
            sweep_partials(place)

    def perform(self, step: Step, work: Work) -> Made:
        """Do ``step`` unless its results lie there already; say which, and why."""
        key = step.key
        recorded = self._recorded(step.name)
        why = self._why(step, key, recorded)
        if not why:
            self.observer.up_to_date(step.name)
            return Made(recorded["outputs"], recorded["result"])
        if self.only_ask:
            self.observer.would_run(step.name, why)
            return Made(dict.fromkeys(step.outputs, NOT_MADE_YET), {})
        progress = self.observer.begin(step.name, why)
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=self.path) as made:
                result = dict(json.loads(json.dumps(work(Path(made), progress))))
                outputs = self._move_into_place(step, Path(made))
        except OSError as error:
            if error.errno in WRITE_ERRORS:
                raise write_error(self.path, error) from error
            raise
        write_json(self._record(step.name), {"key": key, "outputs": outputs, "result": result})
        self.observer.done(step.name, time.monotonic() - started)
        return Made(outputs, result)

    def _move_into_place(self, step: Step, made: Path) -> dict[str, str]:
        """Replace the step's files by what it made, and remove what was made from the old ones; returns the hashes."""
        outputs = {name: sha256_file(made / name) for name in step.outputs if (made / name).is_file()}
        stale = [f"{RECORDS}/{step.name}.json", *self._made_from(step.outputs, outputs), *step.outputs]
        for name in [WHOLE, *stale] if step.in_manifest else stale:
            (self.path / name).unlink(missing_ok=True)
        for name in outputs:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(self.path / name)
        return outputs

    def _made_from(self, names: Iterable[str], kept: Mapping[str, str]) -> list[str]:
        """Files that other steps made from ``names``, unless from the very content in ``kept``; and so on.

        Their records stay, so that the next run can say why it repeats those steps.
        """
        stale: list[str] = []
        for path in sorted((self.path / RECORDS).glob("*.json")):
            record = self._recorded(path.stem)
            inputs = record.get("key", {}).get("inputs", {})
            if any(name in inputs and inputs[name] != kept.get(name) for name in names):
                stale += [*record["outputs"], *self._made_from(record["outputs"], {})]
        return stale

    def _record(self, name: str) -> Path:
        return self.path / RECORDS / f"{name}.json"

    def _recorded(self, name: str) -> dict[str, Any]:
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
            return dict(record) if {"key", "outputs", "result"} <= record.keys() else {}
        except (OSError, ValueError, AttributeError):
            return {}

    def _why(self, step: Step, key: dict[str, Any], recorded: dict[str, Any]) -> str:
        """Why the step must run; empty if it need not."""
        if not recorded:
            return "not made yet"
        changes = list(_changes(recorded["key"], key))
        for name, digest in recorded["outputs"].items() if not changes else ():
            path = self.path / name
            if not path.is_file():
                changes.append(f"{name} is gone")
            elif sha256_file(path) != digest:
                changes.append(f"{name} was changed")
        return "; ".join(changes)


def version(distribution: str) -> str:
    """The installed version, or ``absent``."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def sha256_code(package: str) -> str:
    """Return the hash of this project's own code in ``package``, with the graph that probes a processor."""
    digest, folder = hashlib.sha256(), PROJECT / package
    for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.onnx")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _changes(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """What differs between two keys, in words."""
    if isinstance(before, dict) and isinstance(after, dict):
        for part in sorted(before.keys() | after.keys()):
            yield from _changes(before.get(part), after.get(part), f"{name} {part}".strip())
    elif before != after:
        if after == NOT_MADE_YET:
            yield f"{name} will be made anew"
        elif name.startswith(("inputs", "code")):
            yield f"{name} changed"
        else:
            yield f"{name}: {_short(before)} → {_short(after)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
