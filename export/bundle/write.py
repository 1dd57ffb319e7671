"""Writing a bundle: its files are gathered, described, proven by its own verifier, and only then moved into place."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from export.bundle.build_script import build_script
from export.bundle.contents import Contents, choose_contents
from export.bundle.goldens import Goldens, budgets_of, make_goldens, write_goldens
from export.bundle.manifest import NAME, bundle_id, describe_bundle, manifest_bytes
from export.bundle.output import require_replaceable, whole_folder, write_archive
from export.bundle.text import bundle_readme, write_licences
from export.bundle.verify import DEVICE, VerifiedRow, prove_bundle
from export.common.errors import BadInput
from export.common.files import apply_umask, require_writable, sha256_file, write_text
from export.common.progress import Progress, no_progress
from export.engine.plan import EnginePlan

RUNTIME = Path(__file__).parents[1] / "runtime"
PROGRAMS = ("verify.py", "build.py", "build.sh")
DEFAULT_PLAN = EnginePlan()
IGNORED = ("__pycache__", "*.pyc", ".mypy_cache", ".ruff_cache")


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written."""

    folder: Path
    id: str
    archive: Path
    archive_sha256: str
    contents: Contents
    verified: tuple[VerifiedRow, ...]
    """Results of the bundle's own verifier on this machine."""


def write_bundle(
    export: Path,
    out: Path,
    precisions: tuple[str, ...] | None = None,
    plan: EnginePlan = DEFAULT_PLAN,
    progress: Progress = no_progress,
) -> Bundle:
    """Write ``out/<MODEL>-bundle``, its archive, and a file with the SHA-256 of both; an older bundle is replaced.

    Args:
        export: the folder of an export.
        out: the folder to write into.
        precisions: those of the bundle; None: all that the export has proven.
        plan: settings of engines that are built on the device, unless its command line has others.
        progress: called before each part of the work.

    Raises:
        BadInput: no export, a precision that it lacks, or ``out`` cannot be written or holds something else.
        CheckFailed: a file is not proven, or the bundle's own verifier refuses it here.
        Inconclusive: the goldens would prove nothing.
        NotPossible: no runtime here runs any of its files.
    """
    contents = choose_contents(export, precisions)
    place = out / f"{contents.model}-bundle"
    require_replaceable(place, NAME, "bundle")
    require_writable(out)
    goldens = make_goldens(contents)
    with whole_folder(place) as folder:
        progress("copying")
        manifest = _fill(folder, contents, goldens, plan)
        progress("proving the bundle with its own verifier")
        verified = prove_bundle(folder)
    progress("writing the archive")
    archive = place.with_name(f"{place.name}.zip")
    write_archive(place, archive)
    archive_sha256 = sha256_file(archive)
    hashes = f"{bundle_id(manifest)}  {place.name}/{NAME}\n{archive_sha256}  {archive.name}\n"
    write_text(place.with_name(f"{place.name}.sha256"), hashes)
    return Bundle(place, bundle_id(manifest), archive, archive_sha256, contents, verified)


def copy_programs(folder: Path) -> None:
    """Copy the files that every bundle has: its programs, and the runtime package, both unchanged."""
    ignore = shutil.ignore_patterns(*IGNORED)
    shutil.copytree(DEVICE, folder, ignore=ignore, dirs_exist_ok=True)
    shutil.copytree(RUNTIME, folder / "pose_runtime/runtime", ignore=ignore)


def _fill(folder: Path, contents: Contents, goldens: Goldens, plan: EnginePlan) -> bytes:
    """Write all files of a bundle; return the manifest."""
    copy_programs(folder)
    for artifact in contents.onnx:
        (folder / artifact.path).parent.mkdir(exist_ok=True)
        shutil.copyfile(contents.folder / artifact.path, folder / artifact.path)
        if sha256_file(folder / artifact.path) != artifact.sha256:
            raise BadInput(f"{artifact.path} was changed while it was copied", "another sha256", "run it again")
    budgets = budgets_of(contents, goldens)
    write_goldens(folder, contents, goldens, budgets)
    (folder / "build.sh").write_text(build_script(contents, plan), encoding="utf-8")
    (folder / "README.md").write_text(bundle_readme(contents, goldens, budgets, folder.name), encoding="utf-8")
    write_licences(folder, contents, goldens)
    manifest = manifest_bytes(describe_bundle(contents, goldens, budgets, plan, folder))
    (folder / NAME).write_bytes(manifest)
    for path in folder.rglob("*"):
        apply_umask(path, executable=path.name in PROGRAMS)
    return manifest
