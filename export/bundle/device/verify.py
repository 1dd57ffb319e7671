#!/usr/bin/env python3
"""Prove this bundle on this device: ``python3 verify.py``.

First every file is compared with the manifest, before any of them is run; until then only Python's own library is used.
Then the golden images go through every runtime that is installed, the joints are judged by the manifest's budgets,
latencies are measured in turns, and all of it is written to ``device-report.json``.

Exit codes: 0 done · 1 a check failed, or the build of an engine · 2 the input or the command line is wrong ·
3 inconclusive · 4 nothing runs it here, or not what was named with --runtime or --precision.
"""

import sys

if __name__ == "__main__":
    import os  # which Python's own start has loaded already

    here = os.path.dirname(os.path.realpath(__file__))
    # A file laid here must not be taken for one of Python's own, not even __future__, also where PYTHONPATH names this
    # folder; and what was compiled here must not be run in place of its source.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here]
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull

import argparse
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

HERE = Path(__file__).resolve().parent
MANIFEST, REPORT, SCHEMA_VERSION = "manifest.json", "device-report.json", "1.0"
COMPILED = "__pycache__"
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run one that was changed"


class Refusal(Exception):
    """The bundle is not what its manifest says; three parts, as everywhere."""

    def __init__(self, problem: str, detail: str, advice: str = COPY_AGAIN, exit_code: int = 1) -> None:
        super().__init__(problem, detail, advice)
        self.problem, self.detail, self.advice, self.exit_code = problem, detail, advice, exit_code

    def report(self) -> str:
        """The parts, a line each."""
        return f"error: {self.problem}\nfound: {self.detail}\ntry:   {self.advice}"


def main(arguments: Optional[List[str]] = None) -> int:
    """Do what the command line says; returns the exit code."""
    return ended(lambda: verify(switches().parse_args(arguments)))


def switches() -> argparse.ArgumentParser:
    """The command line; ``convnextpose verify`` has the same."""
    parser = argparse.ArgumentParser(prog="verify.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the report; by default device-report.json in the bundle"
    )
    parser.add_argument("--id", action="store_true", help="print the bundle's id, the SHA-256 of its manifest, and end")
    parser.add_argument("--expect", metavar="ID", help="refuse a bundle with another id")
    parser.add_argument("--hashes-only", action="store_true", help="compare the files with the manifest, and end")
    parser.add_argument(
        "--runtime", help="only these, with commas, and each must run; by default all that are installed"
    )
    parser.add_argument("--precision", help="only these, with commas, and each must run; by default all of the bundle")
    parser.add_argument("--threads", type=int, help="of the processor; by default all that may be used")
    parser.add_argument("--seconds", type=float, help="how long latency is measured, by default 20; 0 leaves it out")
    parser.add_argument("--no-build", action="store_true", help="build no engine, even if one is missing")
    return parser


def refuse_idle(asked: Any) -> None:
    """See that no switch is given that another makes do nothing.

    Raises:
        Refusal: one is.
    """
    ends = next((name for name in ("id", "hashes_only") if getattr(asked, name)), None)
    if ends is None:
        return
    given = [name for name, value in vars(asked).items() if value is not None and value is not False]
    idle = [name for name in given if name not in (ends, "expect")]
    if idle:
        seen = " ".join(switch(name) for name in idle)
        raise Refusal(f"{switch(ends)} ends before other switches count", seen, "leave out one or the other", 2)


def switch(name: str) -> str:
    """``no_build`` → ``--no-build``."""
    return "--" + name.replace("_", "-")


def verify(asked: Any) -> int:
    """Compare hashes, then hand over to ``pose_verify``; returns the exit code.

    Raises:
        Refusal: the bundle is not whole, not the one that was expected, or a switch would do nothing.
    """
    refuse_idle(asked)
    found = bundle_id(HERE)
    if asked.expect is not None and asked.expect.strip().lower() != found:
        raise Refusal("this is not the bundle that was expected", f"id {found}, not {asked.expect}")
    if asked.id:
        print(found)
        return 0
    if asked.out is not None and asked.out.resolve() != HERE / REPORT and HERE in asked.out.resolve().parents:
        raise Refusal("the report would lie among the bundle's files", str(asked.out), "name a place outside", 2)
    manifest = refuse_changed(HERE)
    print(f"{len(manifest['files'])} files are what the manifest says; bundle id {found}", file=sys.stderr)
    if asked.hashes_only:
        return 0
    require_numpy()
    from pose_verify.session import hold_session

    return int(hold_session(HERE, asked.out or HERE / REPORT, asked))


def require_numpy() -> None:
    """See that NumPy is there, which all that follows needs.

    Raises:
        Refusal: it is not, or does not load.
    """
    try:
        import numpy  # noqa: F401
    except (ImportError, OSError) as error:
        do = f"apt install python3-numpy, or {sys.executable} -m pip install numpy"
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Refusal("NumPy is not installed for this Python, or does not load", said, do, 4) from error


def refuse_changed(folder: Path) -> Dict[str, Any]:
    """Compare the whole folder with its manifest; returns the manifest. Python's compiled leftovers are removed.

    Raises:
        Refusal: a file was changed, added or removed, is a link, or the manifest names what it must not.
    """
    sys.dont_write_bytecode = True
    sys.pycache_prefix = os.devnull  # there is nothing below it
    manifest = read_manifest(folder)
    listed = {entry["path"]: entry for entry in manifest["files"]}
    try:
        compare_files(folder, listed)
    except OSError as error:
        raise Refusal(f"the bundle in {folder} cannot be read", str(error)) from error
    named = [("golden", manifest["golden"]), ("int8 probe", manifest["int8_probe"])]
    named += [(kind, entry) for kind in ("onnx", "engines") for entry in manifest[kind]]
    for kind, entry in named:
        if listed.get(entry["path"], {}).get("sha256") != entry["sha256"]:
            raise Refusal(
                f"{entry['path']} is named by the manifest ({kind}) and not among its files", "the lists differ"
            )
    sys.path.insert(0, str(folder))
    return manifest


def compare_files(folder: Path, listed: Dict[str, Any]) -> None:
    """Compare what lies in the folder with what is listed; nothing is removed before no link can lead out of it.

    Raises:
        Refusal: a file was changed, added or removed, or is a link.
    """
    for path, mode in walk(folder):
        if stat.S_ISLNK(mode):
            raise Refusal(f"{path} is a link", f"to {os.readlink(str(folder / path))}")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Refusal(f"{path} is no plain file", f"mode {mode:o}")
    remove_compiled(folder, listed)
    parents = {"/".join(path.split("/")[:depth]) for path in listed for depth in range(1, path.count("/") + 1)}
    for path, mode in walk(folder):
        known = path in parents if stat.S_ISDIR(mode) else path in listed or path in (MANIFEST, REPORT)
        if not known:
            kind = "folder" if stat.S_ISDIR(mode) else "file"
            raise Refusal(f"{path} is not in the manifest", f"a {kind} was added, or the manifest was damaged")
    for path, entry in sorted(listed.items()):
        place = folder / path
        if not place.is_file():
            raise Refusal(f"{path} is missing", "the manifest lists it")
        if place.stat().st_size != entry["size_bytes"] or sha256(place) != entry["sha256"]:
            raise Refusal(f"{path} was changed", "its SHA-256 is not the manifest's")


def read_manifest(folder: Path) -> Dict[str, Any]:
    """The manifest, with every path in it seen to lie within the folder.

    Raises:
        Refusal: there is none, or of another schema, or it names a place outside.
    """
    try:
        manifest: Dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        found = f"{manifest['kind']} {manifest['schema_version']}"
        entries = [*manifest["files"], *manifest["onnx"], *manifest["engines"]]
        entries += [manifest["golden"], manifest["int8_probe"]]
        paths = [entry["path"] for entry in entries]
        told = [(entry["path"], entry["sha256"], entry["size_bytes"]) for entry in manifest["files"]]
        if not all(isinstance(path, str) for path in paths) or not all(isinstance(of[2], int) for of in told):
            raise TypeError("a path is no text, or a size no number")
        twice = len({path.lower() for path in paths[: len(manifest["files"])]}) != len(manifest["files"])
    except OSError as error:
        raise Refusal(f"there is no bundle in {folder}", str(error), "run verify.py in a bundle", 2) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(f"{MANIFEST} is no manifest of a bundle", repr(error), exit_code=2) from error
    if found != f"bundle {SCHEMA_VERSION}":
        raise Refusal(f"{MANIFEST} is not of schema {SCHEMA_VERSION}", found, "use the verifier of that bundle", 2)
    for path in paths:
        parts = path.split("/")
        if (
            path.startswith("/")
            or "\\" in path
            or ":" in path
            or not all(part not in ("", ".", "..") for part in parts)
        ):
            raise Refusal("the manifest names a file outside of the bundle", path)
    if twice:
        raise Refusal("the manifest lists a file twice", "paths are compared without case")
    return manifest


def remove_compiled(folder: Path, listed: Dict[str, Any]) -> None:
    """Remove what Python compiled when the runtime was imported from here: it would be run in place of its source.

    Raises:
        Refusal: it cannot be removed.
    """
    for parent in {str(Path(path).parent) for path in listed}:
        leftover = folder / parent / COMPILED
        if leftover.is_dir() and not leftover.is_symlink():
            try:
                shutil.rmtree(str(leftover))
            except OSError as error:
                raise Refusal(f"{parent}/{COMPILED} is not in the manifest", str(error), "remove it") from error
            print(f"removed {parent}/{COMPILED}: compiled files are not in the manifest", file=sys.stderr)


def walk(folder: Path) -> Iterator[Tuple[str, int]]:
    """Every folder, file and link below, as a path with ``/`` and its mode; links are not followed."""
    for entry in sorted(os.scandir(str(folder)), key=lambda entry: entry.name):
        kind = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind):
            for path, below in walk(folder / entry.name):
                yield f"{entry.name}/{path}", below
        yield entry.name, kind


def bundle_id(folder: Path) -> str:
    """The SHA-256 of the manifest's bytes.

    Raises:
        Refusal: there is no manifest.
    """
    try:
        return sha256(folder / MANIFEST)
    except OSError as error:
        raise Refusal(f"there is no bundle in {folder}", str(error), "run verify.py in a bundle", 2) from error


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def ended(work: Callable[[], int]) -> int:
    """The exit code of ``work``; a failure is told in its three parts, never as a traceback."""
    try:
        return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as failure:
        if not hasattr(failure, "report"):
            raise
        print(failure.report(), file=sys.stderr)
        return int(getattr(failure, "exit_code", 1))


if __name__ == "__main__":
    sys.exit(main())
