"""``build.sh``: the recipe's commands, run with a fake ``trtexec``."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from export.bundle.contents import choose_contents
from export.engine.plan import EnginePlan
from export.pipeline.recipe import recipe_of
from tests.support.bundles import copied, flip_last, rewrite, run_with_trtexec, verify
from tests.support.command_line import assert_three_parts


def run_script(
    bundle: Path, place: Path, version: str, shell: Sequence[str] = ("sh",), names: Sequence[str] = (), **more: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    log, settings = place / "log", {"OUT": str(place / "out")} | more
    run = run_with_trtexec([*shell, bundle / "build.sh", *names], place, version, LOG=str(log), **settings)
    return run, log.read_text().strip().split("\n\n") if log.exists() else []


@pytest.mark.parametrize(("version", "major"), [("100300", 10), ("101600", 10), ("110401", 11)])
def test_the_script_runs_the_recipes_commands(
    once_bundle: Path, once_export: Path, tmp_path: Path, version: str, major: int
) -> None:
    run, calls = run_script(once_bundle, tmp_path, version)
    assert run.returncode == 0, run.stderr
    onnx = choose_contents(once_export).onnx
    expected = [list(recipe_of(artifact, EnginePlan()).build(major)[1:]) for artifact in onnx]
    assert [call.splitlines()[1:] for call in calls] == expected
    assert {call.splitlines()[0] for call in calls} == {str((tmp_path / "out").resolve())}
    for name in ("fp32", "fp16", "bf16", "int8"):  # the folders that commands name exist
        assert (tmp_path / f"out/engines/once-{name}.trtexec.engine").is_file()
        assert (tmp_path / f"out/engines/once-{name}.trtexec.layers.json").is_file()
    assert verify(once_bundle, "--hashes-only").returncode == 0  # nothing was put into the bundle


def test_other_versions_and_changed_files_are_refused(once_bundle: Path, tmp_path: Path) -> None:
    for version, message in (("8502", "this TensorRT is too old"), ("120000", "does not support this TensorRT")):
        run, calls = run_script(once_bundle, tmp_path, version)
        assert_three_parts(run, 4)
        assert message in run.stderr
        assert calls == []
    run, calls = run_script(once_bundle, tmp_path, "none", TENSORRT_MAJOR="11")
    assert (run.returncode, len(calls)) == (0, 4)
    (tmp_path / "log").unlink()
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "onnx/once-bf16.onnx", flip_last)
    run, calls = run_script(bundle, tmp_path, "100300")
    assert run.returncode != 0
    assert "onnx/once-bf16.onnx: FAILED" in run.stdout
    assert calls == []
    run, _ = run_script(bundle, tmp_path, "100300", TRTEXEC="/nowhere/trtexec")
    assert_three_parts(run, 4)
    assert "TRTEXEC=path sh build.sh" in run.stderr


def test_one_failed_build_prevents_no_other(once_bundle: Path, tmp_path: Path) -> None:
    run, calls = run_script(once_bundle, tmp_path, "100300", REFUSED="fp16")
    assert_three_parts(run, 1)
    assert "no engine for fp16;" in run.stderr
    assert len(calls) == 4
    built = sorted(path.name for path in (tmp_path / "out/engines").glob("*.engine"))
    assert built == [f"once-{name}.trtexec.engine" for name in ("bf16", "fp32", "int8")]


def test_named_precisions_are_built(once_bundle: Path, tmp_path: Path) -> None:
    run, calls = run_script(once_bundle, tmp_path, "100300", names=("int8", "fp32"), REFUSED="fp16")
    assert run.returncode == 0, run.stderr
    assert ["int8" in call for call in calls] == [False, True]
    assert len(calls) == 2
    run, again = run_script(once_bundle, tmp_path, "100300", names=("fp8",))
    assert_three_parts(run, 2)
    assert "found: fp8" in run.stderr
    assert again == calls


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix")])
def test_the_script_runs_in_posix_shells_without_the_right_to_be_executed(
    once_bundle: Path, tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """As Python's zipfile unpacks it; twice, since the second run finds the files of the first."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "build.sh", lambda text: text)
    assert not os.access(bundle / "build.sh", os.X_OK)
    for times in (1, 2):
        run, calls = run_script(bundle, tmp_path, "101600", shell, TRTEXEC="./trtexec")
        assert (run.returncode, len(calls)) == (0, 4 * times), run.stderr


def test_the_output_folder_is_not_the_runtimes(once_bundle: Path, tmp_path: Path) -> None:
    """With the usual umask of Ubuntu the group may write to it, and the runtime would refuse its own."""
    command = ("sh", "-c", 'umask 002; exec sh "$@"', "sh")
    run, _ = run_script(once_bundle, tmp_path, "100300", command, names=("fp16",), OUT="")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / ".cache/pose_trtexec/engines/once-fp16.trtexec.engine").is_file()
    assert not (tmp_path / ".cache/pose_runtime").exists()
