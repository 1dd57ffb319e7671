"""An export → ``<MODEL>-bundle``: gathered, described, proven by its own verifier, and only then put in its place."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle.archive import write_archive
from export.bundle.contents import Contents, choose_contents
from export.bundle.cpp_goldens import write_cpp_goldens
from export.bundle.device_recipe import build_script
from export.bundle.goldens import Goldens, budgets_of, make_goldens
from export.bundle.licences import write_licences
from export.bundle.manifest import GOLDEN, NAME, bundle_id, describe_bundle, manifest_bytes
from export.bundle.readme import bundle_readme
from export.common.errors import BadInput, CheckFailed, NotPossible
from export.common.files import PARTIAL_PREFIX, require_writable, sha256_file, write_error, write_text
from export.common.progress import Progress, no_progress
from export.common.records import peek
from export.engine.plan import EnginePlan
from export.engine.record import beside

DEVICE = Path(__file__).parent / "device"
RUNTIME = Path(__file__).parents[1] / "runtime"
PROGRAMS = ("verify.py", "build.py", "build.sh")
LEFT_OUT = ("__pycache__", "*.pyc", ".mypy_cache", ".ruff_cache")


@dataclass(frozen=True)
class BundlePlan:
    """What is asked for."""

    precisions: tuple[str, ...] | None = None
    """None: all that the export has proven."""
    with_engines: bool = True
    images: Path | None = None
    """A folder of crops for the goldens; without it the first images that parity was judged on."""
    archive: bool = True
    engine_plan: EnginePlan = field(default_factory=EnginePlan)
    """What engines are built with on the device, where nothing else is said there."""


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    folder: Path
    id: str
    archive: Path | None
    archive_sha256: str | None
    contents: Contents
    verified: dict[str, Any]
    """What the bundle's own verifier said of it here."""


def write_bundle(export: Path, out: Path, plan: BundlePlan, progress: Progress = no_progress) -> Bundle:
    """Write ``out/<MODEL>-bundle``, its archive, and a file with the SHA-256 of both; an older bundle is replaced.

    Raises:
        BadInput: no export, not what was asked for in it, or ``out`` cannot be written or holds something else there.
        CheckFailed: a file is not proven, or the bundle's own verifier refuses it here.
        Inconclusive: the goldens would prove nothing.
        NotPossible: nothing here runs any of its files.
    """
    contents = choose_contents(export, plan.precisions, with_engines=plan.with_engines)
    place = out / f"{contents.model}-bundle"
    require_replaceable(place, NAME, "bundle")
    require_writable(out)
    goldens = make_goldens(contents, plan.images, progress)
    with in_the_making(place) as made:
        progress("copying")
        _fill(made, contents, goldens, plan.engine_plan)
        manifest = manifest_bytes(describe_bundle(contents, goldens, plan.engine_plan, made))
        (made / NAME).write_bytes(manifest)
        progress("proving the bundle with its own verifier")
        verified = verify_here(made)
    archive, archive_sha256 = None, None
    lines = [f"{bundle_id(manifest)}  {place.name}/{NAME}"]
    if plan.archive:
        progress("writing the archive")
        archive = place.with_name(f"{place.name}.zip")
        write_archive(place, archive)
        archive_sha256 = sha256_file(archive)
        lines.append(f"{archive_sha256}  {archive.name}")
    write_text(place.with_name(f"{place.name}.sha256"), "\n".join(lines) + "\n")
    return Bundle(place, bundle_id(manifest), archive, archive_sha256, contents, verified)


def verify_here(folder: Path) -> dict[str, Any]:
    """Run the bundle's own verifier on this machine, without latency; returns its report.

    Raises:
        CheckFailed: it refuses the bundle.
        NotPossible: nothing here runs any of its files, so that nothing is proven.
    """
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "device-report.json"
        command = [sys.executable, "-I", str(folder.resolve() / "verify.py"), "--out", str(report), "--seconds", "0"]
        done = subprocess.run([*command, "--no-build"], capture_output=True, text=True, check=False)
        if done.returncode == NotPossible.exit_code:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("found", "not run"))]
            do = "install openvino or onnxruntime here, or bundle a precision with it that one of them runs"
            raise NotPossible("nothing here runs the bundle, so that it proves nothing", "; ".join(said), do)
        if done.returncode or not report.is_file():
            lines = (done.stdout + done.stderr).splitlines()
            said = [line for line in lines if line.startswith(("error", "found", "fail", "inconclusive"))]
            do = "do not ship it; the export's own parity says how it was judged there"
            raise CheckFailed("the bundle's own verifier refuses it", "; ".join(said[:4]) or done.stderr[-500:], do)
        return dict(json.loads(report.read_text(encoding="utf-8")))


@contextmanager
def in_the_making(place: Path) -> Iterator[Path]:
    """Yield a folder to fill; when the block ends well it becomes ``place``, and one that was there before goes.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=place.parent) as parent:
            made, old = Path(parent) / place.name, Path(parent) / "old"
            made.mkdir()
            yield made
            if place.exists():
                place.rename(old)
            made.rename(place)
    except OSError as error:
        raise write_error(place, error) from error


def require_replaceable(place: Path, mark: str, kind: str) -> None:
    """See that what lies at ``place``, if anything, is an earlier one of the same kind.

    Raises:
        BadInput: it is something else, which must not go.
    """
    if not (place.exists() or place.is_symlink()):
        return
    found = peek(place / mark, "kind") or "no manifest"
    if place.is_symlink() or found != kind:
        seen = "a link" if place.is_symlink() else found
        raise BadInput(f"{place} would be replaced, and is no {kind}", seen, "name another folder with --out")


def copy_programs(folder: Path) -> None:
    """Copy what every bundle holds of this project: its programs, and the runtime package as it is."""
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(DEVICE, folder, ignore=left_out, dirs_exist_ok=True)
    shutil.copytree(RUNTIME, folder / "pose_runtime/runtime", ignore=left_out)


def _fill(made: Path, contents: Contents, goldens: Goldens, plan: EnginePlan) -> None:
    copy_programs(made)
    records = [beside(Path(engine.artifact.path), ".json") for engine in contents.engines]
    files = [Path(a.path) for a in (*contents.onnx, *(engine.artifact for engine in contents.engines))]
    for file in [*files, *records]:
        (made / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(contents.folder / file, made / file)
    _require_copied(made, contents)
    np.savez(made / GOLDEN, allow_pickle=False, **goldens.arrays())
    budgets = budgets_of(contents, goldens)
    write_cpp_goldens(made, contents, goldens, budgets)
    (made / "build.sh").write_text(build_script(contents, plan), encoding="utf-8")
    (made / "README.md").write_text(bundle_readme(contents, goldens, budgets, made.name), encoding="utf-8")
    write_licences(made, contents, goldens)
    for path in made.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.name in PROGRAMS else 0o644)


def _require_copied(made: Path, contents: Contents) -> None:
    """See that the copies are what the export's manifest promises: the export may have been changed meanwhile."""
    artifacts: Sequence[Any] = (*contents.onnx, *(engine.artifact for engine in contents.engines))
    for artifact in artifacts:
        if sha256_file(made / artifact.path) != artifact.sha256:
            raise BadInput(f"{artifact.path} was changed while it was copied", "another sha256", "run it again")
