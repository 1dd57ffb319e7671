"""Bundles for tests, which change them and verify them as a device does, in processes of their own."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from export.bundle.manifest import BundleManifest
from export.bundle.write import copy_programs
from export.common.files import sha256_file
from tests.support.command_line import ROOT, in_process

_PLACE = tempfile.TemporaryDirectory(prefix="convnextpose-device-")
DEVICE = Path(_PLACE.name)
"""Folder with ``pose_runtime`` and ``pose_verify``, as in a bundle."""
copy_programs(DEVICE)
sys.path.insert(0, str(DEVICE))
QUICK = ("fp32",)
PLANTED = "import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n"
"""A module that leaves a mark where it is run."""
PROBE_FREE = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}


def export_once(place: Path, *more: str, precisions: str = "fp32,fp16,bf16,int8") -> Path:
    """Export a small trained network in these precisions, with engines where they can be built."""
    options = ("--set", "upsamplings=1", "--precision", precisions, *more)
    model, weights = ROOT / "tests/data/once.yaml", ROOT / "tests/data/once-demo.pth"
    run = in_process("export", model, "--checkpoint", weights, *options, cwd=place)
    assert run.returncode == 0, run.stderr
    return place / "build/once"


def copied(bundle: Path, place: Path) -> Path:
    """Copy a bundle with hard links; change its files only by ``rewrite``."""
    return Path(shutil.copytree(bundle, place / bundle.name, copy_function=os.link))


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace a file by a changed one, without changing other links to it."""
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def flip_last(content: bytes) -> bytes:
    """Change one bit of the last byte."""
    return content[:-1] + bytes([content[-1] ^ 1])


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest in place, and nothing else."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    rewrite(bundle / "manifest.json", lambda _: json.dumps(manifest).encode())


def rehash(bundle: Path) -> None:
    """Make the manifest agree with the files again, as an attacker would who changes both."""

    def update(manifest: dict[str, Any]) -> None:
        for entry in [*manifest["files"], *manifest["onnx"], manifest["golden"]]:
            path = bundle / entry["path"]
            entry |= {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}

    change_manifest(bundle, update)


def verify(
    bundle: Path, *arguments: object, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a bundle's verifier as its receiver does, with this repository out of reach."""
    command = [python, "-I", str(bundle / "verify.py"), *map(str, arguments)]
    settings = PROBE_FREE | {"HOME": str(bundle.parent)} | environment
    run = subprocess.run(command, cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def run_here(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``verify.py`` or ``build.py`` of a bundle within this process: what it imports comes from ``DEVICE``.

    It takes a second less than a process, which only streams, signals and the search for modules need.
    """
    spec = importlib.util.spec_from_file_location(program.stem, program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setattr(sys, "pycache_prefix", sys.pycache_prefix)
        exit_code = module.main([*map(str, arguments)])
    return subprocess.CompletedProcess([program.name], exit_code, out.getvalue(), err.getvalue())


def report_of(path: Path) -> dict[str, Any]:
    """Return a report as plain data."""
    return dict(json.loads(path.read_text()))


def manifest_of(bundle: Path) -> BundleManifest:
    """Return the manifest as it was written."""
    return BundleManifest.model_validate_json((bundle / "manifest.json").read_bytes())


TRTEXEC = """#!/bin/sh
if [ "$1" = --help ]; then echo "&&&& RUNNING TensorRT.trtexec [TensorRT v$VERSION] [b26]"; exit 0; fi
if [ -n "$LOG" ]; then pwd -P >> "$LOG"; printf '%s\\n' "$@" >> "$LOG"; echo >> "$LOG"; fi
for a in "$@"; do
    case $a in
    --onnx=*${REFUSED:-nothing}*) exit 7 ;;
    --onnx=*) [ -f "${a#*=}" ] || exit 9 ;;
    --saveEngine=* | --exportLayerInfo=*) echo "$@" > "${a#*=}" || exit 9 ;;
    esac
done
"""


def run_with_trtexec(
    command: Sequence[object], place: Path, version: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a build script with a fake trtexec in ``place``, which writes its arguments."""
    program = place / "trtexec"
    program.write_text(TRTEXEC)
    program.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "TRTEXEC": str(program), "VERSION": version} | more
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False, cwd=place)
