"""The check on an emulated ARM processor: a bundle's own verifier, with what an aarch64 wheel computes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from export.common.errors import NotPossible
from scripts import arm_check
from scripts.arm_check import APT_CONFIGURATION, check_on_arm, main, provide_system, shorten
from tests.support.bundles import copied, flip_last, manifest_of, report_of, rewrite, verify


@pytest.mark.arm
def test_an_arm_processor_runs_a_bundle(once_bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime sums FP16 files in FP16 there, with several times the error of a processor that sums in FP32."""
    try:
        provide_system(tmp_path / "cache")
    except NotPossible as reason:
        pytest.skip(reason.detail)
    exit_code = check_on_arm(once_bundle, tmp_path / "cache", "fp32,fp16,int8", tmp_path / "report.json")
    report = report_of(tmp_path / "report.json")
    rows = {row["precision"]: row for row in report["results"] if row["asked"]}
    assert (exit_code, report["outcome"]) == (0, "pass"), rows
    assert report["device"]["machine"] == "aarch64"
    assert {name: row["computes_in"] for name, row in rows.items()} == dict.fromkeys(rows, "float16") | {
        "fp32": "float32"
    }
    assert rows["fp32"]["parity"]["mean_mm"] < 0.01
    assert 0.2 < rows["fp16"]["parity"]["mean_mm"] < 1


def test_few_goldens_are_judged_as_all_are(once_bundle: Path, tmp_path: Path) -> None:
    short = shorten(once_bundle, 2, tmp_path)
    run = verify(short, "--runtime", "onnxruntime", "--precision", "fp32", "--seconds", "0")
    assert run.returncode == 0, run.stderr
    report = report_of(short / "device-report.json")
    (row,) = (row for row in report["results"] if row["asked"])
    assert row["parity"]["images"] == manifest_of(short).golden.count == 2
    assert "2 of them" in report["bundle"]["golden_source"]


def test_a_changed_bundle_is_refused_before_anything_is_fetched(
    once_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "golden.npz", flip_last)
    monkeypatch.setattr(arm_check, "provide_system", lambda cache: pytest.fail("fetched"))
    assert check_on_arm(bundle, tmp_path / "cache", "fp32", tmp_path / "report.json") == 1


def test_without_debian_it_is_skipped(
    once_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["arm_check", str(once_bundle), "--cache", str(tmp_path / "cache")])
    assert main() == 0
    assert capsys.readouterr().out.startswith("skipped: no emulated ARM processor can be had here: dpkg: No such file")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt-config is not installed")
def test_the_system_s_packages_are_not_touched(tmp_path: Path) -> None:
    """A container's APT may have hooks that remove the system's own files."""
    system, private = tmp_path / "system.conf", tmp_path / "private.conf"
    hooks = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke-Success", "DPkg::Post-Invoke")
    system.write_text("".join(f'{hook} {{ "rm -rf /var/cache/apt"; }};\n' for hook in hooks))
    private.write_text(APT_CONFIGURATION.format(place=tmp_path, host="amd64"))

    def dump(*options: object) -> str:
        command = ["apt-config", *map(str, options), "dump"]
        environment = os.environ | {"APT_CONFIG": str(system)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "rm -rf" in dump()
    settings = dump("-c", private)
    assert "rm -rf" not in settings
    for name, place in (("State", "state"), ("State::status", "status"), ("Cache", "cache")):
        assert f'Dir::{name} "{tmp_path}/{place}";' in settings
