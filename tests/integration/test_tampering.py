"""Every kind of change to a bundle is refused, with its reason."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import PLANTED, change_manifest, flip_last, rehash, rewrite, verify
from tests.support.command_line import assert_three_parts


def add_link(bundle: Path) -> None:
    (bundle / "onnx/once-fp32.onnx").unlink()
    (bundle / "onnx/once-fp32.onnx").symlink_to("/etc/hostname")


def name_outside(bundle: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"].append({"path": "../stolen", "sha256": "0" * 64, "size_bytes": 1})

    change_manifest(bundle, change)


def name_model(bundle: Path) -> None:
    """Name an ONNX file that the manifest's list of files does not have."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["onnx"].append({**manifest["onnx"][0], "path": "onnx/other.onnx"})

    change_manifest(bundle, change)


def add(path: str, content: bytes = b"planted") -> Callable[[Path], None]:
    def plant(bundle: Path) -> None:
        (bundle / path).parent.mkdir(parents=True, exist_ok=True)
        (bundle / path).write_bytes(content)

    return plant


def changed(path: str, change: Callable[[bytes], bytes] = flip_last) -> Callable[[Path], None]:
    return lambda bundle: rewrite(bundle / path, change)


def without(key: str) -> Callable[[Path], None]:
    return lambda bundle: change_manifest(bundle, lambda manifest: manifest.pop(key))


TAMPERINGS: dict[str, tuple[Callable[[Path], Any], str, int]] = {
    "a byte of a model": (changed("onnx/once-fp16.onnx"), "once-fp16.onnx was changed", 1),
    "code of the runtime": (
        changed("pose_runtime/__init__.py", lambda code: code + PLANTED.encode()),
        "__init__.py was changed",
        1,
    ),
    "code that Python cannot read": (changed("pose_runtime/bundle.py", lambda _: b"def"), "bundle.py was changed", 1),
    "a module added": (add("pose_runtime/runtime/evil.py"), "evil.py", 1),
    "a module that hides NumPy": (add("numpy.py", PLANTED.encode()), "numpy.py", 1),
    "an engine added": (add("onnx/once-fp16.trt.engine", b"ftrt"), "once-fp16.trt.engine", 1),
    "an empty folder added": (lambda bundle: (bundle / "onnx/more").mkdir(), "onnx/more", 1),
    "a file missing": (lambda bundle: (bundle / "build.py").unlink(), "build.py is missing", 1),
    "a folder missing": (lambda bundle: shutil.rmtree(bundle / "golden"), "facts.txt is missing", 1),
    "a link": (add_link, "onnx/once-fp32.onnx is a link", 1),
    "a link to a folder": (lambda bundle: (bundle / "more").symlink_to("/etc"), "more is a link", 1),
    "a pipe": (lambda bundle: os.mkfifo(bundle / "pipe"), "pipe is no plain file", 1),
    "a manifest that names a place outside": (name_outside, "outside", 1),
    "a model that is not among the files": (name_model, "other.onnx", 1),
    "another hash in the manifest": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["files"][0].update(sha256="0" * 64)),
        "was changed",
        1,
    ),
    "a file listed twice": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["files"].append(manifest["files"][0])),
        "lists a file twice",
        1,
    ),
    "a manifest of another schema": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest.update(schema_version="9.0")),
        "bundle 9.0",
        2,
    ),
    "a manifest without files": (without("files"), "no manifest of a bundle", 2),
    "a file without its size": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["files"][0].pop("size_bytes")),
        "no manifest of a bundle",
        2,
    ),
    "a manifest that is no JSON": (changed("manifest.json", lambda text: text[:50]), "no manifest of a bundle", 2),
    **{f"a manifest without its {key}": (without(key), "lacks", 2) for key in ("weights", "budgets")},
    "a manifest without the origin of its weights": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["weights"].pop("origin")),
        "found: weights.origin",
        2,
    ),
    "a manifest nested too deeply": (changed("manifest.json", lambda _: b"[" * 200_000), "no manifest of a bundle", 2),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "there is no bundle", 2),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_every_tampering_is_refused_with_its_reason(bundle: Path, tampering: str) -> None:
    tamper, message, exit_code = TAMPERINGS[tampering]
    tamper(bundle)
    run = verify(bundle, "--seconds", 0)
    assert_three_parts(run, exit_code)
    assert message in run.stderr
    assert not (bundle / "device-report.json").exists()
    assert not list(bundle.rglob("executed"))  # nothing of it was run


@pytest.mark.parametrize("program", ["verify.py", "build.py"])
def test_without_numpy_the_error_names_the_package(bundle: Path, program: str) -> None:
    command = [sys.executable, "-I", "-S", str(bundle / program)]  # without site-packages
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert_three_parts(run, 4)
    assert "NumPy is not installed" in run.stderr
    assert "apt install python3-numpy" in run.stderr


def test_the_builder_compares_hashes_with_its_own_verifier(bundle: Path, tmp_path: Path) -> None:
    """And not with another module of this name on PYTHONPATH."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/verify.py").write_text(PLANTED)
    rewrite(bundle / "onnx/once-fp16.onnx", flip_last)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "elsewhere")}
    command = [sys.executable, str(bundle / "build.py")]
    run = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert_three_parts(run, 1)
    assert "once-fp16.onnx was changed" in run.stderr
    assert not (tmp_path / "elsewhere/executed").exists()


@pytest.mark.parametrize("python_path", [None, ":", "BUNDLE"])
@pytest.mark.parametrize("program", ["verify.py", "build.py"])
def test_no_file_replaces_a_module_of_pythons(bundle: Path, program: str, python_path: str | None) -> None:
    """Without -I, Python searches the program's folder first, and those of PYTHONPATH.

    No program can prevent Python itself from importing modules from PYTHONPATH while it starts.
    """
    names = ["argparse", "hashlib", "shutil"]
    if python_path is None:
        names += ["__future__", "json", "stat", "pathlib", "threading", "importlib"]
    for name in names:
        (bundle / f"{name}.py").write_text(PLANTED)
    command = [sys.executable, str(bundle / program)]
    environment = os.environ | ({"PYTHONPATH": python_path.replace("BUNDLE", str(bundle))} if python_path else {})
    run = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, check=False)
    assert_three_parts(run, 1)
    assert "is not in the manifest" in run.stderr
    assert not list(bundle.rglob("executed"))


def test_the_builder_runs_no_compiled_verifier(bundle: Path, tmp_path: Path) -> None:
    import importlib.util
    import py_compile

    planted = tmp_path / "planted.py"
    planted.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'executed')!r}).touch()\n")
    target = importlib.util.cache_from_source(str(bundle / "verify.py"))
    py_compile.compile(str(planted), target, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    command = [sys.executable, "-I", str(bundle / "build.py")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0, run.stdout  # no TensorRT here
    assert not (tmp_path / "executed").exists()


def test_nothing_is_removed_through_a_link(bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "outside/__pycache__/kept.pyc"
    kept.parent.mkdir(parents=True)
    kept.touch()
    shutil.rmtree(bundle / "pose_verify")
    (bundle / "pose_verify").symlink_to(tmp_path / "outside")
    assert_three_parts(verify(bundle, "--hashes-only"), 1)
    assert kept.exists()


def test_compiled_leftovers_are_never_run(bundle: Path) -> None:
    """Python would run them in place of the source that was checked."""
    import py_compile

    source, compiled = bundle / "pose_runtime/bundle.py", bundle / "pose_runtime/__pycache__"
    planted = bundle.parent / "planted.py"
    planted.write_text(f"import pathlib; pathlib.Path({str(bundle.parent / 'executed')!r}).touch()\n")
    stat = source.stat()
    os.utime(planted, (stat.st_atime, stat.st_mtime))
    import importlib.util

    target = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(str(planted), str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    run = verify(bundle, "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp32")
    assert run.returncode == 0, run.stderr
    assert "removed pose_runtime/__pycache__" in run.stderr
    assert not compiled.exists()
    assert not (bundle.parent / "executed").exists()


def test_only_the_id_shows_a_changed_manifest(bundle: Path) -> None:
    """As the bundle's README says."""
    own = verify(bundle, "--id").stdout.strip()
    rewrite(bundle / "build.sh", lambda text: text + b"# planted\n")
    rehash(bundle)
    assert verify(bundle, "--hashes-only").returncode == 0
    run = verify(bundle, "--hashes-only", "--expect", own)
    assert_three_parts(run, 1)
