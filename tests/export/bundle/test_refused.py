"""Exports that are never bundled, and folders that are never replaced."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.parity_check import ParityCheck
from bench.sessions.exported import read_export
from export.bundle.contents import choose_contents
from export.bundle.goldens import budgets_of, make_goldens
from export.bundle.manifest import bundle_id
from export.bundle.write import write_bundle
from export.common.errors import BadInput, CheckFailed, Inconclusive, NotPossible
from export.common.files import PARTIAL_PREFIX
from export.pipeline.layout import TRUTH
from tests.support.bundles import QUICK, flip_last, rewrite, verify


def unproven_fp32(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["artifacts"][0]["status"] = "parity fail"
    rewrite(exported / "manifest.json", lambda _: json.dumps(manifest).encode())


def plant_joints(exported: Path, change: Callable[[Any], Any], name: str = "truth") -> None:
    with np.load(exported / TRUTH) as file:
        arrays = dict(file)
    (exported / TRUTH).unlink()
    np.savez(exported / TRUTH, **arrays | {name: change(arrays[name])})


def plant_shift(exported: Path, bins: float) -> None:
    """Move the truth and the FP32 reference alike: the export is then far from both."""
    for name in ("truth", "reference"):
        plant_joints(exported, lambda joints: joints + bins, name=name)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda folder: rewrite(folder / "onnx/once-fp32.onnx", flip_last), BadInput, "it was changed since"),
        (lambda folder: (folder / "onnx/once-fp32.onnx").unlink(), BadInput, "it is gone"),
        (unproven_fp32, CheckFailed, r"once-fp32\.onnx is not proven — parity fail"),
        (lambda folder: (folder / TRUTH).unlink(), BadInput, "no images of its parity"),
        (lambda folder: (folder / "manifest.json").unlink(), BadInput, "there is no manifest"),
        (
            lambda folder: plant_joints(folder, lambda truth: np.broadcast_to(truth.mean(axis=0), truth.shape)),
            Inconclusive,
            "these goldens would prove nothing",
        ),
        (lambda folder: plant_shift(folder, 0.01), CheckFailed, "the bundle's own verifier refuses it — fail"),
    ],
)
def test_unproven_or_changed_exports_are_not_bundled(
    exported: Path, tmp_path: Path, damage: Callable[[Path], Any], error: type[Exception], message: str
) -> None:
    damage(exported)
    with pytest.raises(error, match=message):
        write_bundle(exported, tmp_path / "out", QUICK)
    assert not list((tmp_path / "out").glob("*"))


def test_a_bundle_that_no_runtime_runs_is_not_written(
    once_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BF16 only, with a Python that hides OpenVINO from the verifier."""
    hidden = tmp_path / "python"
    code = "import sys, runpy; sys.modules['openvino'] = None; sys.argv = sys.argv[1:]; "
    code += "sys.path.insert(0, ''); runpy.run_path(sys.argv[0], run_name='__main__')"
    hidden.write_text(f"""#!/bin/sh\nshift\nexec {sys.executable} -I -c "{code}" "$@"\n""")
    hidden.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hidden))
    bf16 = ("bf16",)
    with pytest.raises(NotPossible, match="openvino"):
        write_bundle(once_export, tmp_path / "out", bf16)
    assert not list((tmp_path / "out").iterdir())


def test_a_bundle_stays_if_the_next_one_fails(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_bundle(exported, out, QUICK)
    plant_shift(exported, 0.01)
    with pytest.raises(CheckFailed):
        write_bundle(exported, out, QUICK)
    assert bundle_id((first.folder / "manifest.json").read_bytes()) == first.id
    assert not list(out.glob(PARTIAL_PREFIX + "*"))
    plant_shift(exported, -0.01)
    assert verify(write_bundle(exported, out, QUICK).folder, "--hashes-only").returncode == 0  # and it is replaced


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_other_folders_are_not_replaced(once_export: Path, tmp_path: Path, kind: str, unproven: None) -> None:
    place = tmp_path / "once-bundle"
    (tmp_path / "precious").mkdir()
    {"folder": place.mkdir, "link": lambda: place.symlink_to("precious"), "file": place.touch}[kind]()
    with pytest.raises(BadInput, match="would be replaced, and is no bundle"):
        write_bundle(once_export, tmp_path, QUICK)
    assert place.exists()


def test_a_required_grade_goes_into_the_bundle(exported: Path) -> None:
    """``--require near``, written into the manifest, is what the bundle and a benchmark judge int8 by."""

    def ask(content: bytes) -> bytes:
        manifest = json.loads(content)
        for report in manifest["parity"]:
            report["budget"]["grade"] = "near" if report["precision"] == "int8" else report["budget"]["grade"]
        return json.dumps(manifest).encode()

    far = np.load(exported / TRUTH)["truth"] + 0.1  # bins: neither near nor usable
    usable = ParityCheck(read_export(exported))("int8", far)
    rewrite(exported / "manifest.json", ask)
    contents = choose_contents(exported)
    assert budgets_of(contents, make_goldens(contents))["int8"][0].grade == "near"
    near = ParityCheck(read_export(exported))("int8", far)
    allowed = [judged["reason"].partition("allowed ")[2] for judged in (usable, near)]
    assert allowed == ["5 mm", "1 mm"]
