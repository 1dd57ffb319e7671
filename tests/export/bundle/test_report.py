"""Device reports read back, and ``convnextpose verify``."""

from pathlib import Path

import pytest

from bench.results.device_report import read_device_report
from export.common.errors import BadInput
from tests.support.bundles import PLANTED, rewrite
from tests.support.command_line import assert_three_parts, convnextpose


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no device report"),
        ("no JSON", "no device report"),
        ('{"kind": "device-report", "schema_version": "1.1"}', "1.2 — schema_version 1.1"),
        ('{"kind": "device-report", "schema_version": "1.2"}', "Field required"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "device-report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=message):
        read_device_report(path)


def test_the_command_has_the_options_of_the_bundles_own_verifier() -> None:
    import typer.main
    from verify import argument_parser

    from cli.main import app

    command = typer.main.get_command(app).commands["verify"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    expected = {
        name for action in argument_parser()._actions for name in action.option_strings if name.startswith("--")
    }
    assert options - {"--help"} == expected - {"--help"}


def test_the_command_runs_the_bundles_own_verifier(bundle: Path, tmp_path: Path) -> None:
    options: tuple[object, ...] = ("--runtime", "onnxruntime", "--precision", "fp32", "--seconds", 0)
    options += ("--threads", 1, "--out", "report.json")
    run = convnextpose("verify", bundle, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    report = read_device_report(tmp_path / "report.json")
    assert report.outcome == "pass"
    assert (report.results[0].describe or "").endswith("threads: 1")
    own = convnextpose("verify", bundle, "--id", cwd=tmp_path)
    assert own.stdout.strip() == report.bundle.id
    assert_three_parts(convnextpose("verify", bundle, "--id", "--threads", 1, cwd=tmp_path), 2)
    assert_three_parts(convnextpose("verify", bundle, "--expect", "1" * 64, *options, cwd=tmp_path), 1)
    assert_three_parts(convnextpose("verify", tmp_path / "nothing", cwd=tmp_path), 2)


def test_the_command_runs_nothing_of_a_changed_bundle(bundle: Path, tmp_path: Path) -> None:
    """Not even its verifier, which could print anything."""
    rewrite(bundle / "verify.py", lambda _: PLANTED.encode())
    run = convnextpose("verify", bundle, cwd=tmp_path)
    assert_three_parts(run, 1)
    assert "verify.py was changed" in run.stderr
    assert not (bundle / "executed").exists()
