"""Bundles that were made to hang a verifier, to end it in a traceback, or to command the terminal."""

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_runtime import BadInput
from pose_runtime.bundle import Bundle
from pose_runtime.manifest_form import wrong_values

from export.bundle.manifest import BundleManifest, manifest_bytes
from export.bundle.output import require_replaceable
from tests.support.bundles import change_manifest, manifest_of, rehash, rewrite, run_here, verify
from tests.support.command_line import assert_three_parts

Change = Callable[[dict[str, Any]], object]


def replaced_by(create: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in the manifest's place."""

    def replace(bundle: Path) -> None:
        (bundle / "manifest.json").unlink()
        create(bundle / "manifest.json")

    return replace


def nest(bundle: Path, folder: str = ".", depth: int = 1500) -> None:
    parent = os.open(bundle / folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=parent)
        below = os.open("d", os.O_RDONLY, dir_fd=parent)
        os.close(parent)
        parent = below
    os.close(parent)


def nest_compiled(bundle: Path) -> None:
    (bundle / "pose_verify/__pycache__").mkdir()
    nest(bundle, "pose_verify/__pycache__")


def huge_file(bundle: Path) -> None:
    """List a file with more bytes than anybody would wait for; it has no blocks on the disk."""
    rewrite(bundle / "README.md", lambda _: b"")
    os.truncate(bundle / "README.md", 1 << 40)

    def update(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["path"] == "README.md")["size_bytes"] = 1 << 40

    change_manifest(bundle, update)


def in_manifest(change: Change) -> Callable[[Path], None]:
    return lambda bundle: change_manifest(bundle, change)


def with_text(text: bytes) -> Callable[[Path], None]:
    return lambda bundle: rewrite(bundle / "manifest.json", lambda content: content.replace(b'"model"', text, 1))


HOSTILE: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "a pipe as manifest": (replaced_by(os.mkfifo), "manifest.json is no plain file", 1),
    "a manifest without end": (replaced_by(lambda path: path.symlink_to("/dev/zero")), "manifest.json is a link", 1),
    "a folder as manifest": (replaced_by(Path.mkdir), "manifest.json is no plain file", 1),
    "a large manifest": (replaced_by(lambda path: path.write_bytes(b" " * (5 << 20))), "more than 4 MiB", 2),
    "nested folders": (nest, "d is not in the manifest", 1),
    "nested folders among compiled files": (nest_compiled, "__pycache__/d is no plain file", 1),
    "a file of a terabyte": (huge_file, "more than a bundle holds", 2),
    "a number of a million digits": (with_text(b'"n": ' + b"9" * 1_000_000 + b', "model"'), "a number of", 2),
    "an infinite number": (with_text(b'"n": 1e999, "model"'), "not finite", 2),
    "a name with control characters": (lambda bundle: (bundle / "\x1b[31mred").touch(), r"\x1b[31mred is not in", 1),
    "a name that is no text": (lambda bundle: Path(os.fsdecode(bytes(bundle) + b"/\xff")).touch(), "is not in", 1),
    "a path with control characters": (
        in_manifest(lambda m: m["files"].append({"path": "\x1b[2Jx", "sha256": "0", "size_bytes": 0})),
        r"\x1b[2Jx",
        2,
    ),
    "a long path": (
        in_manifest(lambda m: m["files"].append({"path": "x" * 5000, "sha256": "0", "size_bytes": 0})),
        "too long",
        2,
    ),
    "a model that writes the window's title": (in_manifest(lambda m: m.update(model="\x1b]0;x\x07")), "control", 2),
    "a lone surrogate": (in_manifest(lambda m: m["golden"].update(source="\ud800")), r"\ud800", 2),
    "an error of two lines": (in_manifest(lambda m: m.update(kind="x\nerror: forged")), "control characters", 2),
    "an entry without hash": (in_manifest(lambda m: m["onnx"][0].pop("sha256")), "sha256", 2),
    "goldens without hash": (in_manifest(lambda m: m["golden"].pop("sha256")), "sha256", 2),
    "an entry without precision": (in_manifest(lambda m: m["onnx"][0].pop("precision")), "onnx[0].precision", 2),
    "a number as names": (in_manifest(lambda m: m["joints"].update(names=5)), "joints.names", 2),
    "a text as size": (in_manifest(lambda m: m["files"][0].update(size_bytes="1")), "size", 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_are_refused_in_three_printable_lines(bundle: Path, name: str) -> None:
    make, message, exit_code = HOSTILE[name]
    make(bundle)
    run = verify(bundle, "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp32")
    assert_three_parts(run, exit_code)
    assert message in run.stderr
    assert all(line.isprintable() for line in run.stderr.splitlines())
    assert len(run.stderr) < 4000
    assert not (bundle / "device-report.json").exists()
    subprocess.run(["rm", "-rf", str(bundle)], check=True)  # pytest cannot remove nested folders


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda m: m.update(onnx={}), "onnx"),
        (lambda m: m["onnx"][0].update(precision="fp8"), "onnx[0].precision"),
        (lambda m: m["onnx"][0].update(fp32_convolutions=True), "onnx[0].fp32_convolutions"),
        (lambda m: m["budgets"].pop("fp32"), "budgets.fp32"),
        (lambda m: m["budgets"]["fp32"].update(limits=[{}]), "budgets.fp32.limits[0].statistic"),
        (lambda m: m["budgets"]["fp32"]["limits"][0].update(statistic="p42"), "budgets.fp32.limits[0].statistic"),
        (lambda m: m["budgets"]["fp32"]["limits"][0].update(allowed_mm="1"), "budgets.fp32.limits[0].allowed_mm"),
        (lambda m: m["joints"]["bones"].append([1]), "joints.bones["),
        (lambda m: m["volume"].update(depth_dim=0), "volume.depth_dim"),
        (lambda m: m["volume"].update(cube_mm=-1.0), "volume.cube_mm"),
        (lambda m: m["golden"].update(count=10**9), "golden.count"),
        (lambda m: m["build"].update(batches=[1, 1]), "build.batches"),
        (lambda m: m["weights"].update(notice=7), "weights.notice"),
        (lambda m: m.update(needed_signal_mm=None), "needed_signal_mm"),
        (lambda m: m.update(model="\x1b"), "model"),
    ],
)
def test_the_runtime_checks_every_value_that_it_reads(bundle: Path, change: Change, place: str) -> None:
    change_manifest(bundle, change)
    with pytest.raises(BadInput) as refusal:
        Bundle(bundle)
    assert place in refusal.value.detail


def test_what_is_written_has_the_form_that_is_read(bundle: Path) -> None:
    assert wrong_values(json.loads((bundle / "manifest.json").read_bytes())) == []


def test_a_key_that_nobody_knows_changes_nothing(bundle: Path) -> None:
    volume = Bundle(bundle).volume
    change_manifest(bundle, lambda m: [m[key].update(path=None) for key in ("volume", "joints", "build")])
    assert Bundle(bundle).volume == volume


def test_the_runtime_opens_no_pipe(bundle: Path) -> None:
    model = bundle / Bundle(bundle).onnx("fp32")["path"]
    opened = Bundle(bundle)
    model.unlink()
    os.mkfifo(model)
    with pytest.raises(Exception, match="no plain file"):
        opened.content(opened.onnx("fp32")["path"])
    replaced_by(os.mkfifo)(bundle)
    with pytest.raises(BadInput, match="no plain file"):
        Bundle(bundle)


def _compressed(arrays: dict[str, Any], content: io.BytesIO) -> None:
    np.savez_compressed(content, **arrays | {"images": np.zeros((1, 1024, 1024, 3), np.uint8)})


def _claimed(arrays: dict[str, Any], content: io.BytesIO) -> None:
    """Write an array that claims to have a billion images."""
    np.savez(content, **arrays)
    with zipfile.ZipFile(content, "a") as archive:
        head = io.BytesIO()
        shape = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(head, shape)
        archive.writestr("images.npy", head.getvalue())


@pytest.mark.parametrize(
    "write",
    [
        _compressed,
        _claimed,
        lambda arrays, content: content.write(b"no zip"),
        lambda arrays, content: np.savez(content, images=arrays["images"]),
        lambda arrays, content: np.savez(content, **arrays | {"truth": arrays["truth"].astype(str)}),
        lambda arrays, content: np.savez(content, **arrays | {"images": arrays["images"].astype(object)}),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_goldens_are_refused(bundle: Path, write: Callable[[dict[str, Any], io.BytesIO], object]) -> None:
    with np.load(bundle / "golden.npz") as file:
        arrays = {name: file[name] for name in ("images", "truth")}
    content = io.BytesIO()
    write(arrays, content)
    rewrite(bundle / "golden.npz", lambda _: content.getvalue())
    rehash(bundle)
    run = run_here(bundle / "verify.py", "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp32")
    assert_three_parts(run, 1)
    assert "the goldens" in run.stderr


def test_texts_are_escaped_where_a_bundle_is_written(bundle: Path) -> None:
    """Such as the name of a folder of crops."""
    manifest: BundleManifest = manifest_of(bundle)
    golden = manifest.golden.model_copy(update={"source": "crops from folder \x1b[2J\udce9"})
    written = json.loads(manifest_bytes(manifest.model_copy(update={"golden": golden})))
    assert written["golden"]["source"] == r"crops from folder \x1b[2J\udce9"


def test_a_folder_with_a_pipe_as_manifest_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(Exception, match="no manifest"):
        require_replaceable(tmp_path, "manifest.json", "bundle")
