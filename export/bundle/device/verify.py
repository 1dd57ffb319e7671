#!/usr/bin/env python3
"""Verify this bundle on this device: ``python3 verify.py``.

1. Compare every file with the manifest. Until that is done, only Python's standard library is used.
2. Run the golden images through every installed runtime, and compare the joints with the manifest's budgets.
3. Measure latency in rounds, and write ``device-report.json``.

Exit codes: 0 passed · 1 a check failed, or the build of an engine · 2 wrong input or command line · 3 inconclusive ·
4 nothing runs here, or not everything that --runtime or --precision names.
"""

import sys

if __name__ == "__main__":
    import os  # Python has loaded it already

    folder = os.path.dirname(os.path.realpath(__file__))
    # A file in this folder must not replace a module of Python's, not even __future__, also where PYTHONPATH names this
    # folder; and compiled files must not run in place of their sources.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != folder]
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull

import argparse
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

FOLDER = Path(__file__).resolve().parent
MANIFEST, REPORT, SCHEMA_VERSION = "manifest.json", "device-report.json", "1.1"
COMPILED = "__pycache__"
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run a bundle that was changed"


class Refusal(Exception):
    """A refused bundle or command line, in three parts: what failed, the value found, what to do."""

    def __init__(self, problem: str, value: str, advice: str = COPY_AGAIN, exit_code: int = 1) -> None:
        super().__init__(problem, value, advice)
        self.exit_code = exit_code

    def report(self) -> str:
        """Return the three parts, one per line."""
        return "error: {}\nfound: {}\ntry:   {}".format(*self.args)


def main(arguments: Optional[List[str]] = None) -> int:
    """Verify as the command line says; return the exit code."""
    return run_program(lambda: verify(argument_parser().parse_args(arguments)))


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; ``convnextpose verify`` has the same options."""
    parser = argparse.ArgumentParser(prog="verify.py", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="report file (default: device-report.json in the bundle)")
    add("--id", action="store_true", help="print the bundle's id, the SHA-256 of its manifest, and exit")
    add("--expect", metavar="ID", help="refuse a bundle with another id")
    add("--hashes-only", action="store_true", help="compare the files with the manifest, and exit")
    add("--runtime", help="comma-separated runtimes, each of which must run (default: all that are installed)")
    add("--precision", help="comma-separated precisions, each of which must run (default: all of the bundle)")
    add("--threads", type=int, help="processor threads (default: as many as this process may use)")
    add("--seconds", type=float, help="duration of the latency measurement (default: 20); 0 leaves it out")
    add("--no-build", action="store_true", help="build no engine, even if one is missing")
    return parser


def refuse_ignored_options(options: argparse.Namespace) -> None:
    """Check that no option is given that ``--id`` or ``--hashes-only`` would ignore.

    Raises:
        Refusal: one is.
    """
    last = next((name for name in ("id", "hashes_only") if getattr(options, name)), None)
    names = [name for name, value in vars(options).items() if value is not None and value is not False]
    ignored = [option_of(name) for name in names if name not in (last, "expect")]
    if last and ignored:
        problem = f"{option_of(last)} ends before other options count"
        raise Refusal(problem, " ".join(ignored), "leave out one or the other", 2)


def option_of(name: str) -> str:
    """Return an option's spelling: ``no_build`` → ``--no-build``."""
    return "--" + name.replace("_", "-")


def verify(options: argparse.Namespace) -> int:
    """Compare hashes, then hand over to ``pose_verify``; return the exit code.

    Raises:
        Refusal: the bundle was changed or is not the expected one, or an option would be ignored.
    """
    refuse_ignored_options(options)
    own_id = bundle_id(FOLDER)
    if options.expect is not None and options.expect.strip().lower() != own_id:
        raise Refusal("this is not the bundle that was expected", f"id {own_id}, not {options.expect}")
    if options.id:
        print(own_id)
        return 0
    out = FOLDER / REPORT if options.out is None else options.out.resolve()
    if out != FOLDER / REPORT and FOLDER in out.parents:
        raise Refusal("the report would lie among the bundle's files", str(out), "name a place outside", 2)
    manifest = refuse_changed(FOLDER)
    print(f"{len(manifest['files'])} files match the manifest; bundle id {own_id}", file=sys.stderr)
    if options.hashes_only:
        return 0
    require_numpy()
    from pose_verify.verification import run_verification

    return int(run_verification(FOLDER, out, options))


def require_numpy() -> None:
    """Check that NumPy can be imported.

    Raises:
        Refusal: it cannot.
    """
    try:
        import numpy  # noqa: F401
    except (ImportError, OSError) as error:
        advice = f"apt install python3-numpy, or {sys.executable} -m pip install numpy"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Refusal("NumPy is not installed for this Python, or does not load", reason, advice, 4) from error


def refuse_changed(folder: Path) -> Dict[str, Any]:
    """Compare the whole folder with its manifest, remove compiled files, and make its packages importable.

    Returns:
        The manifest.

    Raises:
        Refusal: a file was changed, added or removed, is a link, or the manifest names a file that it must not.
    """
    sys.dont_write_bytecode = True
    sys.pycache_prefix = os.devnull  # no folder can exist below it
    manifest = read_manifest(folder)
    listed = {entry["path"]: entry for entry in manifest["files"]}
    try:
        compare_files(folder, listed)
    except OSError as error:
        raise Refusal(f"the bundle in {folder} cannot be read", str(error)) from error
    for entry in entries_for_use(manifest):
        if listed.get(entry["path"], {}).get("sha256") != entry["sha256"]:
            raise Refusal(f"the manifest names {entry['path']}, and its list of files does not", "the lists differ")
    sys.path.insert(0, str(folder))
    return manifest


def compare_files(folder: Path, listed: Dict[str, Any]) -> None:
    """Compare the folder's files with the manifest's list; remove nothing before links are excluded.

    Raises:
        Refusal: a file was changed, added or removed, or is a link.
    """
    for path, mode in walk(folder):
        if stat.S_ISLNK(mode):
            raise Refusal(f"{path} is a link", f"to {os.readlink(str(folder / path))}")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Refusal(f"{path} is no plain file", f"mode {mode:o}")
    remove_compiled(folder, listed)
    files = {*listed, MANIFEST, REPORT}
    folders = {str(parent) for path in listed for parent in PurePosixPath(path).parents}
    for path, mode in walk(folder):
        is_folder = stat.S_ISDIR(mode)
        if path not in (folders if is_folder else files):
            kind = "folder" if is_folder else "file"
            raise Refusal(f"{path} is not in the manifest", f"a {kind} was added, or the manifest was damaged")
    for path, entry in sorted(listed.items()):
        file = folder / path
        if not file.is_file():
            raise Refusal(f"{path} is missing", "the manifest lists it")
        if file.stat().st_size != entry["size_bytes"] or sha256(file) != entry["sha256"]:
            raise Refusal(f"{path} was changed", "its SHA-256 is not the manifest's")


def read_manifest(folder: Path) -> Dict[str, Any]:
    """Read the manifest, and check that every path in it lies within the folder.

    Raises:
        Refusal: it is missing, damaged or of another schema version, or names a file outside of the folder.
    """
    try:
        manifest: Dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        schema = f"{manifest['kind']} {manifest['schema_version']}"
        if schema != f"bundle {SCHEMA_VERSION}":
            advice = "use the verifier that came with that bundle"
            raise Refusal(f"{MANIFEST} is not of schema bundle {SCHEMA_VERSION}", schema, advice, 2)
        entries = [*manifest["files"], *entries_for_use(manifest)]
        for entry in entries:
            if not isinstance(entry["path"] + entry["sha256"], str) or not isinstance(entry["size_bytes"], int):
                raise TypeError("a path or a hash is no text, or a size no number")
    except OSError as error:
        raise no_bundle(folder, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(f"{MANIFEST} is no manifest of a bundle", repr(error), exit_code=2) from error
    for path in (entry["path"] for entry in entries):
        if "\\" in path or ":" in path or {"", ".", ".."} & set(path.split("/")):
            raise Refusal("the manifest names a file outside of the bundle", path)
    if len({entry["path"].lower() for entry in manifest["files"]}) != len(manifest["files"]):
        raise Refusal("the manifest lists a file twice", "paths are compared without case")
    return manifest


def entries_for_use(manifest: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the entries of those files that the runtime and the verifier load."""
    return [*manifest["onnx"], *manifest["engines"], manifest["golden"]]


def remove_compiled(folder: Path, listed: Dict[str, Any]) -> None:
    """Remove what Python compiled when the runtime was imported from here: it would run in place of its source.

    Raises:
        Refusal: it cannot be removed.
    """
    for parent in {str(Path(path).parent) for path in listed}:
        compiled = folder / parent / COMPILED
        if compiled.is_dir() and not compiled.is_symlink():
            try:
                shutil.rmtree(str(compiled))
            except OSError as error:
                raise Refusal(f"{parent}/{COMPILED} is not in the manifest", str(error), "remove it") from error
            print(f"removed {parent}/{COMPILED}: compiled files are not in the manifest", file=sys.stderr)


def walk(folder: Path) -> Iterator[Tuple[str, int]]:
    """Yield every folder, file and link below, as a path with ``/`` and its mode, without following links."""
    for entry in sorted(os.scandir(str(folder)), key=lambda entry: entry.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            for path, mode_below in walk(folder / entry.name):
                yield f"{entry.name}/{path}", mode_below
        yield entry.name, mode


def bundle_id(folder: Path) -> str:
    """Return the SHA-256 of the manifest's bytes.

    Raises:
        Refusal: there is no manifest.
    """
    try:
        return sha256(folder / MANIFEST)
    except OSError as error:
        raise no_bundle(folder, error) from error


def no_bundle(folder: Path, error: OSError) -> Refusal:
    """Return the refusal of a folder without a manifest."""
    return Refusal(f"there is no bundle in {folder}", str(error), "run verify.py in a bundle", 2)


def sha256(path: Path) -> str:
    """Return the hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def run_program(work: Callable[[], int]) -> int:
    """Call ``work`` and return its exit code; print a failure in its three parts, never as a traceback."""
    prepare_streams()
    try:
        exit_code = work()
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        failure: Any = error
        if isinstance(error, OSError) and stdout_is_lost():
            advice, code = "make room, or write it elsewhere", 141 if isinstance(error, BrokenPipeError) else 2
            failure = Refusal("the output could not be written completely", str(error), advice, code)
        if not hasattr(failure, "report"):
            raise
        print(failure.report(), file=sys.stderr)
        return int(getattr(failure, "exit_code", 1))


def prepare_streams() -> None:
    """Open closed streams, to nowhere; replace characters that a stream's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def stdout_is_lost() -> bool:
    """Return whether stdout cannot be written; it then leads nowhere, since Python flushes it once more at the end."""
    try:
        print(flush=True)  # without a buffer there is nothing to flush
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
