"""The files of a bundle, and the same bytes from the same inputs."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np

from export.bundle.write import write_bundle
from export.common.files import sha256_file
from export.parity.budgets import budget_for
from export.pipeline.layout import TRUTH
from tests.support.bundles import QUICK, manifest_of, rewrite, verify
from tests.support.command_line import ROOT


def test_manifest_lists_every_file(once_bundle: Path, once_export: Path) -> None:
    manifest = manifest_of(once_bundle)
    precisions = ["fp32", "fp16", "bf16", "int8"]
    assert [onnx.precision for onnx in manifest.onnx] == precisions
    assert manifest.budgets.keys() == set(precisions)
    listed = {file.path: file for file in manifest.files}
    paths = {p.relative_to(once_bundle).as_posix() for p in once_bundle.rglob("*") if p.is_file()}
    assert paths == listed.keys() | {"manifest.json"}
    for path, file in listed.items():
        assert (file.sha256, file.size_bytes) == (sha256_file(once_bundle / path), (once_bundle / path).stat().st_size)
    for name in ("README.md", "verify.py", "build.py", "build.sh", "cpp/CMakeLists.txt", "licences/LICENSE"):
        assert name in listed
    for artifact in (once_export / "onnx").iterdir():
        assert listed[f"onnx/{artifact.name}"].sha256 == sha256_file(artifact)
    assert {row.field for row in manifest.verdict} >= {"depths", "dims", "upsamplings"}
    assert manifest.weights.origin == "checkpoint"
    assert (manifest.golden.count, manifest.volume.heatmap_size) == (16, 16)


def test_no_file_contains_a_path_of_this_machine(once_bundle: Path, once_export: Path) -> None:
    places = [str(ROOT).encode(), str(once_export.parents[1]).encode()]
    for path in (path for path in once_bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not any(place in content for place in places), path
    assert not list(once_bundle.rglob("__pycache__"))


def test_modes_of_files(once_bundle: Path) -> None:
    for path in once_bundle.rglob("*"):
        program = path.is_dir() or path.name in ("verify.py", "build.py", "build.sh")
        assert path.stat().st_mode & 0o777 == (0o755 if program else 0o644), path


def test_goldens_are_the_first_images_of_parity(once_bundle: Path, once_export: Path) -> None:
    with np.load(once_bundle / "golden.npz") as file, np.load(once_export / TRUTH) as parity:
        np.testing.assert_array_equal(file["images"], parity["images"][:16])
        np.testing.assert_array_equal(file["truth"], parity["truth"][:16])
        assert file["truth"].dtype == np.float64
        images, truth = file["images"], file["truth"]
    assert (once_bundle / "golden/images.u8").read_bytes() == images.tobytes()
    assert (once_bundle / "golden/joints.f64").read_bytes() == truth.astype("<f8").tobytes()


def test_budgets_have_reasons_and_limits(once_bundle: Path) -> None:
    for precision, budget in manifest_of(once_bundle).budgets.items():
        expected = budget_for(precision, trained=True)
        assert budget.reason == expected.reason
        limits = {(limit.statistic, limit.reason): limit.allowed_mm for limit in budget.limits}
        for statistic in ("max", "mean", "p99"):
            assert limits.get((statistic, expected.reason)) == getattr(expected.limits, f"{statistic}_mm")
        assert not [reason for _, reason in limits if "× the simulated" in reason]  # sums may be in FP16


def test_stand_in_weights_are_named(exported: Path, tmp_path: Path, unproven: None) -> None:
    path = exported / "manifest.json"
    rewrite(path, lambda text: text.replace(b'"origin": "checkpoint"', b'"origin": "stand-in"'))
    bundle = write_bundle(exported, tmp_path / "out").folder
    manifest = manifest_of(bundle)
    assert manifest.weights.notice == "latency is meaningful, poses are not"
    assert "poses are not" in (bundle / "README.md").read_text()
    assert "weights stand-in" in (bundle / "golden/facts.txt").read_text()
    half = manifest.budgets["fp16"]
    assert "random weights do not tell" in half.reason
    assert [limit.statistic for limit in half.limits] == ["mean"]
    assert "10 × the simulated FP16 graph's own" in half.limits[0].reason


def test_the_same_inputs_give_the_same_bytes(once_export: Path, tmp_path: Path, unproven: None) -> None:
    """At any time, in any folder, under any umask."""
    mask = os.umask(0o077)
    try:
        first = write_bundle(once_export, tmp_path / "a", QUICK)
    finally:
        os.umask(mask)
    for path in tmp_path.joinpath("a").rglob("*"):
        os.utime(path, (1, 1))
    second = write_bundle(once_export, tmp_path / "elsewhere/b", QUICK)
    assert first.id == second.id
    assert first.archive_sha256 == sha256_file(first.archive) == sha256_file(second.archive)
    hashes = (tmp_path / "a/once-bundle.sha256").read_text()
    assert hashes == f"{first.id}  once-bundle/manifest.json\n{first.archive_sha256}  once-bundle.zip\n"
    check = ["sha256sum", "--check", "once-bundle.sha256"]
    assert subprocess.run(check, cwd=tmp_path / "a", check=False, capture_output=True).returncode == 0


def test_the_archive_is_the_folder(once_export: Path, tmp_path: Path, unproven: None) -> None:
    written = write_bundle(once_export, tmp_path, QUICK)
    with zipfile.ZipFile(written.archive) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "unpacked")
    for path in (path for path in written.folder.rglob("*") if path.is_file()):
        assert (tmp_path / "unpacked" / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()
    assert verify(tmp_path / "unpacked/once-bundle", "--hashes-only").returncode == 0
    if unzip := shutil.which("unzip"):  # keeps modes, which Python's does not
        subprocess.run([unzip, "-q", written.archive, "-d", tmp_path / "again"], check=True)
        assert (tmp_path / "again/once-bundle/build.sh").stat().st_mode & 0o777 == 0o755
