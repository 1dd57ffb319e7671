"""``convnextpose bundle``."""

from pathlib import Path

import pytest

from export.artifacts import sha256_file
from export.bundle.manifest import bundle_id
from tests.command_line import assert_three_parts, convnextpose, convnextpose_here


def test_engines_that_refuse_one_image_are_refused(once_export: Path, tmp_path: Path) -> None:
    run = convnextpose("bundle", once_export, "--batches", "2,4,8", "--out", "out", cwd=tmp_path)
    assert_three_parts(run, 2)
    assert not (tmp_path / "out").exists()


def test_the_command(once_export: Path, tmp_path: Path) -> None:
    options = ("--precision", "fp32", "--without-engines", "--out", "out")
    run = convnextpose("bundle", once_export, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    bundle = tmp_path / "out/once-bundle"
    assert bundle_id((bundle / "manifest.json").read_bytes()) in run.stdout
    assert sha256_file(tmp_path / "out/once-bundle.zip") in run.stdout
    assert "weights: checkpoint" in run.stdout
    assert "onnxruntime mean" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere is no exported model"),
        (("FOLDER", "--precision", "fp8"), "unknown precision"),
        (("FOLDER", "--images", "nowhere"), "cannot read the images' folder"),
        (("FOLDER", "--batches", "0,1,8"), "impossible batch sizes"),
        (("FOLDER", "--format", "triton", "--images", "."), "has no goldens"),
        (("FOLDER", "--format", "triton", "--without-engines"), "--without-engines: servers build them"),
        (("FOLDER", "--format", "triton", "--with-engines"), "--with-engines: servers build them"),
        (("FOLDER", "--out", "/proc/none"), "cannot write"),
    ],
)
def test_wrong_arguments(
    once_export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    given = [str(once_export) if argument == "FOLDER" else argument for argument in arguments]
    run = convnextpose_here(monkeypatch, capsys, "bundle", *given, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert said in run.stderr
    assert not list(tmp_path.iterdir())
