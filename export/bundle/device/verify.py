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
import errno
import hashlib
import io
import json
import math
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, List, Optional

FOLDER = Path(__file__).resolve().parent
MANIFEST, REPORT, SCHEMA_VERSION = "manifest.json", "device-report.json", "1.2"
COMPILED = "__pycache__"
LARGEST_MANIFEST, LARGEST_BUNDLE = 4 << 20, 4 << 30
"""Most bytes of a manifest, and of all files that it lists: nothing larger is read."""
LONGEST_PATH, LONGEST_PART, MOST_DIGITS = 255, 1000, 18
"""Most characters of a path in the manifest, of a part of an error, and of a whole number."""
READER_GONE = 141
"""Exit code where the reader of stdout has gone, as of a program that SIGPIPE ends."""
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run a bundle that was changed"


class Refusal(Exception):
    """A refused bundle or command line, in three parts: what failed, the value found, what to do."""

    def __init__(self, problem: str, value: str, advice: str = COPY_AGAIN, exit_code: int = 1) -> None:
        super().__init__(problem, value, advice)
        self.exit_code = exit_code


class Output(io.TextIOWrapper):
    """A standard stream that shows any text and fails at none.

    Control characters are escaped: names and texts of a bundle must not command a terminal. A character that the
    encoding lacks is replaced. What cannot be written is lost, and ``error`` says why.
    """

    error: Optional[OSError] = None

    def write(self, text: str) -> int:
        """Write text, if that is possible."""
        try:
            return super().write("\n".join(map(printable, text.split("\n"))))
        except OSError as error:
            self.error = error
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, if that is possible."""
        try:
            super().flush()
        except OSError as error:
            self.error = error


def printable(text: str) -> str:
    """Return text with control characters and lone surrogates escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
    """Compare the folder's files with the manifest's list; remove nothing before everything else was compared.

    Raises:
        Refusal: a file was changed, added or removed, or is a link.
    """
    compiled = walk(folder, listed)
    for path, entry in sorted(listed.items()):
        file = folder / path
        if not file.is_file():
            raise Refusal(f"{path} is missing", "the manifest lists it")
        if file.stat().st_size != entry["size_bytes"] or sha256(file) != entry["sha256"]:
            raise Refusal(f"{path} was changed", "its SHA-256 is not the manifest's")
    for path in compiled:
        remove_compiled(folder, path)


def walk(folder: Path, listed: Dict[str, Any]) -> List[str]:
    """Check that every folder and file below is the manifest's; enter no other folder, and follow no link.

    Returns:
        The folders of compiled files, beside files that the manifest lists.

    Raises:
        Refusal: something was added, or is neither a plain file nor a folder.
    """
    files = {*listed, MANIFEST, REPORT}
    folders = {str(parent) for path in listed for parent in PurePosixPath(path).parents}
    compiled, pending = [], [""]
    while pending:
        parent = pending.pop()
        for name in sorted(os.listdir(str(folder / parent))):
            path = f"{parent}{name}"
            mode = os.lstat(str(folder / path)).st_mode
            if stat.S_ISDIR(mode) and name == COMPILED:
                compiled.append(path)
            elif stat.S_ISDIR(mode) and path in folders:
                pending.append(f"{path}/")
            elif stat.S_ISDIR(mode):
                raise Refusal(f"{path} is not in the manifest", "a folder was added, or the manifest was damaged")
            else:
                require_plain(folder, path)
                if path not in files:
                    raise Refusal(f"{path} is not in the manifest", "a file was added, or the manifest was damaged")
    return compiled


def require_plain(folder: Path, path: str) -> None:
    """Check that a path is a plain file, before it is opened: reading a pipe or a device may never end.

    Raises:
        Refusal: it is a link, or something else.
    """
    mode = os.lstat(str(folder / path)).st_mode
    if stat.S_ISLNK(mode):
        raise Refusal(f"{path} is a link", f"to {os.readlink(str(folder / path))}")
    if not stat.S_ISREG(mode):
        raise Refusal(f"{path} is no plain file", f"mode {mode:o}")


def remove_compiled(folder: Path, path: str) -> None:
    """Remove what Python compiled when the runtime was imported from here: it would run in place of its source.

    Raises:
        Refusal: it cannot be removed, or holds anything but plain files.
    """
    names = os.listdir(str(folder / path))
    for name in names:
        require_plain(folder, f"{path}/{name}")
    try:
        for name in names:
            os.unlink(str(folder / path / name))
        os.rmdir(str(folder / path))
    except OSError as error:
        raise Refusal(f"{path} is not in the manifest", str(error), "remove it") from error
    print(f"removed {path}: compiled files are not in the manifest", file=sys.stderr)


def manifest_content(folder: Path) -> bytes:
    """Return the bytes of the manifest, after checking its type and its size.

    Raises:
        Refusal: there is none, or it is no plain file, or too large.
    """
    try:
        require_plain(folder, MANIFEST)
        with (folder / MANIFEST).open("rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
    except OSError as error:
        raise Refusal(f"there is no bundle in {folder}", str(error), "run verify.py in a bundle", 2) from error
    if len(content) > LARGEST_MANIFEST:
        value = f"more than {LARGEST_MANIFEST >> 20} MiB"
        raise Refusal(f"{MANIFEST} is no manifest of a bundle", value, exit_code=2)
    return content


def read_manifest(folder: Path) -> Dict[str, Any]:
    """Read the manifest, and check its texts, and that every path in it lies within the folder.

    Raises:
        Refusal: it is missing, damaged or of another schema version, or names a file outside of the folder.
    """
    content = manifest_content(folder)
    try:
        manifest: Dict[str, Any] = json.loads(content, parse_int=parse_whole)
        check_values(manifest)
        schema = f"{manifest['kind']} {manifest['schema_version']}"
        if schema != f"bundle {SCHEMA_VERSION}":
            advice = "use the verifier that came with that bundle"
            raise Refusal(f"{MANIFEST} is not of schema bundle {SCHEMA_VERSION}", schema, advice, 2)
        entries = [*manifest["files"], *entries_for_use(manifest)]
        for entry in entries:
            check_entry(entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(f"{MANIFEST} is no manifest of a bundle", repr(error), exit_code=2) from error
    for path in (entry["path"] for entry in entries):
        if "\\" in path or ":" in path or {"", ".", ".."} & set(path.split("/")):
            raise Refusal("the manifest names a file outside of the bundle", path)
    if len({entry["path"].lower() for entry in manifest["files"]}) != len(manifest["files"]):
        raise Refusal("the manifest lists a file twice", "paths are compared without case")
    total = sum(entry["size_bytes"] for entry in manifest["files"])
    if total > LARGEST_BUNDLE:
        value = f"{total} bytes, more than {LARGEST_BUNDLE >> 30} GiB"
        raise Refusal("the manifest lists more than a bundle holds", value, exit_code=2)
    return manifest


def parse_whole(text: str) -> int:
    """Return a whole number of JSON; a long one would take Python minutes, so that it is refused.

    Raises:
        ValueError: it has more digits than any number of a manifest.
    """
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def check_values(manifest: Any) -> None:
    """Check that all texts are printable, and all numbers finite.

    Raises:
        ValueError: a text holds a control character or a lone surrogate, or a number is not finite.
    """
    pending = [manifest]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and not value.isprintable():
            raise ValueError(f"a text with control characters: {printable(value)[:LONGEST_PATH]}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number that is not finite")


def check_entry(entry: Dict[str, Any]) -> None:
    """Check the types of what names a file.

    Raises:
        KeyError: a value is missing.
        TypeError: a value is of another type, or out of range.
    """
    path, digest, size = entry["path"], entry["sha256"], entry["size_bytes"]
    if not (isinstance(path, str) and len(path) <= LONGEST_PATH and isinstance(digest, str)):
        raise TypeError("a path or a hash is no text, or a path is too long")
    if type(size) is not int or size < 0:
        raise TypeError("a size is no number of bytes")


def entries_for_use(manifest: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the entries of those files that the runtime and the verifier load."""
    return [*manifest["onnx"], manifest["golden"]]


def bundle_id(folder: Path) -> str:
    """Return the SHA-256 of the manifest's bytes.

    Raises:
        Refusal: there is no manifest.
    """
    return hashlib.sha256(manifest_content(folder)).hexdigest()


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
        return finish_streams(work())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return finish_streams(130)
    except SystemExit as end:  # of argparse
        return finish_streams(int(end.code or 0))
    except Exception as failure:
        if not hasattr(failure, "exit_code"):
            raise
        print_failure(*failure.args)
        return finish_streams(int(failure.exit_code))


def print_failure(*parts: str) -> None:
    """Print what failed, the value found, and what to do, a line each."""
    for label, part in zip(("error:", "found:", "try:  "), parts):
        line = printable(str(part))  # a line break, too
        print(label, line if len(line) <= LONGEST_PART else line[:LONGEST_PART] + " …", file=sys.stderr)


def prepare_streams() -> None:
    """Make stdout and stderr writable.

    A closed descriptor is opened again, to nowhere: otherwise the next file would get its number, and whatever a
    library prints would be written into that file.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            break
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            buffer, encoding = open(number, "wb", closefd=False), "utf-8"  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:
            buffer, encoding = stream.buffer, stream.encoding
        else:
            continue  # a caller has replaced it
        setattr(sys, name, Output(buffer, encoding, "replace", line_buffering=number == 2 or buffer.isatty()))


def finish_streams(exit_code: int) -> int:
    """Flush stdout; return the exit code, which says that output was lost if nothing else went wrong."""
    stream = sys.stdout
    stream.flush()
    if not isinstance(stream, Output) or stream.error is None:
        return exit_code
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes once more when it ends
    if stream.error.errno == errno.EPIPE:
        return exit_code or READER_GONE
    print_failure("the output could not be written completely", str(stream.error), "make room, or write it elsewhere")
    return exit_code or 2


if __name__ == "__main__":
    sys.exit(main())
