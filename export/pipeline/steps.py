"""Steps: functions from files to files, each run once for the same inputs.

The key of a step holds everything that its result depends on: the content of its inputs, its options, the versions of
the tools that it runs, and this project's own code. A step works in a temporary folder. When it has succeeded, its
files move into place and its record is written last. A step that fails or is interrupted changes nothing. When a step
replaces files, all files that were made from the old ones are removed.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from export.common.errors import Failure
from export.common.files import (
    PARTIAL_PREFIX,
    PROJECT,
    WRITE_ERRORS,
    move_file,
    sha256_file,
    sweep_partials,
    write_error,
    write_json,
)
from export.common.locks import hold_lock
from export.common.progress import NO_RESULT, Progress, StepObserver
from export.pipeline.layout import MANIFEST, STEP_RECORDS
from export.runtime.registry import installed_version

Result = TypeVar("Result")
Work = Callable[[Path, Progress], Result]
"""Writes a step's files into the given folder and returns its result."""

PENDING = "(pending)"
"""In a dry run, the hash of a file that would be rebuilt."""


@dataclass(frozen=True)
class Step:
    """The inputs of a step, and its output files (paths within the folder)."""

    name: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name → sha256."""
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    """Distributions with a version that matters."""
    code: tuple[str, ...] = ("export",)
    """Packages of this project that the step runs."""
    in_manifest: bool = True
    """True if the manifest lists its files; new files then make an earlier manifest out of date."""

    @property
    def key(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON returns it."""
        key = {
            "inputs": dict(self.inputs),
            "options": dict(self.options),
            "tools": {tool: version(tool) for tool in self.tools},
            "code": {package: sha256_code(package) for package in self.code},
        }
        return dict(json.loads(json.dumps(key)))


@dataclass(frozen=True)
class StepResult(Generic[Result]):
    """The result of a step, and the hashes of its files."""

    outputs: Mapping[str, str]
    value: Result | None
    """None in a dry run, if the step would run."""

    def get(self) -> Result:
        """Return the value.

        Raises:
            ValueError: the step has not run.
        """
        if self.value is None:
            raise ValueError("a step that has not run has no result")
        return self.value

    def hashes(self, *names: str) -> dict[str, str]:
        """Return the hashes of these files, as inputs of another step."""
        return {name: self.outputs[name] for name in names}


class StepRecord(BaseModel):
    """A step's record on disk."""

    key: dict[str, Any]
    outputs: dict[str, str]
    result: Any


class Folder:
    """One model's output folder, with the records of its steps."""

    def __init__(self, path: Path, observer: StepObserver, *, dry_run: bool = False) -> None:
        self.path = path
        self.observer = observer
        self.dry_run = dry_run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this run; remove the partial files of killed runs before and after.

        Raises:
            BadInput: the folder cannot be written.
        """
        if self.dry_run and not self.path.is_dir():
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path / ".lock", lambda: self.observer.waiting(str(self.path))))
            except OSError as error:
                raise write_error(self.path, error) from error
            stack.callback(self._sweep)  # an interrupt may come between the temporary folder and its removal
            self._sweep()
            yield

    def _sweep(self) -> None:
        for folder in (self.path, self.path / STEP_RECORDS):
            sweep_partials(folder)

    def perform(self, step: Step, work: Work[Result], kind: type[Result]) -> StepResult[Result]:
        """Run ``step`` unless it is up to date; tell the observer which, with the reason.

        Raises:
            BadInput: the folder cannot be written.
        """
        key, adapter = step.key, TypeAdapter(kind)
        record = self._read_record(step.name)
        reason = self._reason(key, record)
        if record is not None and not reason:
            try:
                value = adapter.validate_python(record.result)
            except ValidationError:
                reason = NO_RESULT
            else:
                self.observer.up_to_date(step.name)
                return StepResult(record.outputs, value)
        if self.dry_run:
            self.observer.would_run(step.name, reason)
            return StepResult(dict.fromkeys(step.outputs, PENDING), None)
        progress = self.observer.begin(step.name, reason)
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=self.path) as partial:
                result = adapter.dump_python(work(Path(partial), progress), mode="json")
                outputs = self._move_into_place(step, Path(partial))
        except Failure as failure:
            self.observer.failed(step.name, failure.problem)
            raise
        except OSError as error:
            if error.errno in WRITE_ERRORS:
                raise write_error(self.path, error) from error
            raise
        write_json(self._record_path(step.name), {"key": key, "outputs": outputs, "result": result})
        self.observer.done(step.name, time.monotonic() - started)
        return StepResult(outputs, adapter.validate_python(result))

    def _move_into_place(self, step: Step, partial: Path) -> dict[str, str]:
        """Replace the step's files, and remove what was made from the old ones; return the hashes."""
        outputs = {name: sha256_file(partial / name) for name in step.outputs if (partial / name).is_file()}
        stale = [f"{STEP_RECORDS}/{step.name}.json", *self._dependents(step.outputs, outputs), *step.outputs]
        for name in [MANIFEST, *stale] if step.in_manifest else stale:
            (self.path / name).unlink(missing_ok=True)
        for name in outputs:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            move_file(partial / name, self.path / name)
        return outputs

    def _dependents(self, names: Iterable[str], unchanged: Mapping[str, str]) -> list[str]:
        """Return files that other steps made from ``names``, directly or not, but for content in ``unchanged``.

        Their records stay, so that the next run can tell why it repeats those steps.
        """
        stale: list[str] = []
        for path in sorted((self.path / STEP_RECORDS).glob("*.json")):
            record = self._read_record(path.stem)
            inputs = record.key.get("inputs", {}) if record else {}
            if record and any(name in inputs and inputs[name] != unchanged.get(name) for name in names):
                stale += [*record.outputs, *self._dependents(record.outputs, {})]
        return stale

    def _record_path(self, name: str) -> Path:
        return self.path / STEP_RECORDS / f"{name}.json"

    def _read_record(self, name: str) -> StepRecord | None:
        """Return the record of a step; None if it is missing or damaged."""
        try:
            return StepRecord.model_validate_json(self._record_path(name).read_bytes())
        except (OSError, ValueError):
            return None

    def _reason(self, key: dict[str, Any], record: StepRecord | None) -> str:
        """Return why the step must run; empty if it is up to date."""
        if record is None:
            return NO_RESULT
        changes = list(_changes(record.key, key))
        for name, digest in record.outputs.items() if not changes else ():
            path = self.path / name
            if not path.is_file():
                changes.append(f"{name} is missing")
            elif sha256_file(path) != digest:
                changes.append(f"{name} has changed")
        return "; ".join(changes)


def version(distribution: str) -> str:
    """Return the installed version, or ``absent``."""
    return installed_version(distribution) or "absent"


def sha256_code(package: str) -> str:
    """Return the hash of a package's Python code and of its ONNX files, which runtimes are probed with."""
    digest, folder = hashlib.sha256(), PROJECT / package
    for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.onnx")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


OPTIONS = {
    "inputs calibration": "the images of --calibration",
    "inputs parity_images": "the images of --images",
    "inputs plan": "the file of --plan",
    "inputs checkpoint": "the checkpoint",
    "options origin": "the kind of weights",
    "options require": "--require",
    "options plan runtime": "--engine-runtime",
    "options plan workspace_bytes": "--workspace-mib (in bytes)",
    "options plan batch_min": "--batches MIN",
    "options plan batch_opt": "--batches OPT",
    "options plan batch_max": "--batches MAX",
    "options plan optimization_level": "--optimization-level",
    "options plan tf32": "--tf32",
    "options plan targets": "--targets",
    "options plan hardware_compatible": "--hardware-compatible",
    "options plan version_compatible": "--version-compatible",
}
"""Part of a key → the user's name for it."""
SECTIONS = {
    "inputs ": "",
    "tools ": "",
    "code ": "this project's code in ",
    "options overrides ": "--set ",
    "options declared ": "the declared ",
    "options ": "",
}
"""Beginning of a part's name → its beginning in words, for parts that are not in ``OPTIONS``."""


def _changes(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """Yield the differences of two keys, in the user's words."""
    if isinstance(before, dict) and isinstance(after, dict):
        for part in sorted(before.keys() | after.keys()):
            yield from _changes(before.get(part), after.get(part), f"{name} {part}".strip())
    elif before != after:
        if after == PENDING:
            yield f"{_in_words(name)} would be rebuilt"
        elif name.startswith(("inputs", "code")):
            yield f"{_in_words(name)} changed"
        else:
            yield f"{_in_words(name)} changed: {_short(before)} → {_short(after)}"


def _in_words(name: str) -> str:
    if name in OPTIONS:
        return OPTIONS[name]
    section = next((section for section in SECTIONS if name.startswith(section)), "")
    return SECTIONS.get(section, "") + name.removeprefix(section)


def _short(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
