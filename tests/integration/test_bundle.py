"""``convnextpose bundle``."""

from pathlib import Path

import pytest

from export.bundle.manifest import bundle_id
from export.common.files import sha256_file
from tests.support.command_line import assert_three_parts, in_process


def test_the_command_prints_id_and_hash(once_export: Path, tmp_path: Path) -> None:
    options = ("--precision", "fp32", "--out", "out")
    run = in_process("bundle", once_export, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    bundle = tmp_path / "out/once-bundle"
    assert bundle_id((bundle / "manifest.json").read_bytes()) in run.stdout
    assert sha256_file(tmp_path / "out/once-bundle.zip") in run.stdout
    assert "weights: checkpoint" in run.stdout
    assert "onnxruntime mean" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no exported model"),
        (("FOLDER", "--precision", "fp8"), "unknown precision"),
        (("FOLDER", "--batches", "0,1,8"), "batch sizes"),
        (("FOLDER", "--batches", "2,4,8"), "one image"),
        (("FOLDER", "--out", "/proc/none"), "cannot write"),
    ],
)
def test_wrong_arguments_are_refused(
    once_export: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    names = [str(once_export) if argument == "FOLDER" else argument for argument in arguments]
    run = in_process("bundle", *names, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert message in run.stderr
    assert not list(tmp_path.iterdir())
