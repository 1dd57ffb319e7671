"""What a bundle holds, that the same inputs give the same bytes, and what is never shipped."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.artifacts import PARTIAL_PREFIX, sha256_file, write_image
from export.bundle import write as writing
from export.bundle.contents import choose_contents
from export.bundle.goldens import COUNT, make_goldens
from export.bundle.manifest import BundleManifest, bundle_id
from export.bundle.write import BundlePlan, write_bundle
from export.errors import BadInput, CheckFailed, Inconclusive, NotPossible
from export.figures import EVALUATION_SEED, draw_figures
from export.model_steps import TRUTH
from export.parity import budget_for, distance
from export.pose import Volume
from export.recipe import recipe_of
from tests.bundles import copied, flip_last, rewrite, verify
from tests.command_line import ROOT, assert_three_parts, convnextpose, convnextpose_here

QUICK = BundlePlan(precisions=("fp32",), with_engines=False)


@pytest.fixture
def exported(once_export: Path, tmp_path: Path) -> Path:
    return copied(once_export, tmp_path)


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are not run, which takes seconds: for tests of what comes before."""
    monkeypatch.setattr(writing, "verify_here", lambda folder: {"results": []})


def manifest_of(bundle: Path) -> BundleManifest:
    return BundleManifest.model_validate_json((bundle / "manifest.json").read_bytes())


# ── what is in it ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_that_a_device_needs(once_bundle: Path, once_export: Path) -> None:
    manifest = manifest_of(once_bundle)
    precisions = ["fp32", "fp16", "bf16", "int8"]
    assert [onnx.precision for onnx in manifest.onnx] == precisions
    assert manifest.budgets.keys() == set(precisions)
    listed = {file.path: file for file in manifest.files}
    there = {p.relative_to(once_bundle).as_posix() for p in once_bundle.rglob("*") if p.is_file()}
    assert there == listed.keys() | {"manifest.json"}
    for path, file in listed.items():
        assert (file.sha256, file.size_bytes) == (sha256_file(once_bundle / path), (once_bundle / path).stat().st_size)
    for name in ("README.md", "verify.py", "build.py", "build.sh", "cpp/CMakeLists.txt", "licences/LICENSE"):
        assert name in listed
    for artifact in (once_export / "onnx").iterdir():
        assert listed[f"onnx/{artifact.name}"].sha256 == sha256_file(artifact)
    for engine in manifest.engines:
        assert (engine.runtime, engine.gpu) == ("tensorrt_rtx", None)
        assert "not run" in engine.status
        assert engine.onnx_sha256 in {onnx.sha256 for onnx in manifest.onnx}
        assert f"{engine.path}.json" in listed
    assert {row.field for row in manifest.verdict} >= {"depths", "dims", "upsamplings"}
    assert manifest.weights.origin == "checkpoint"
    assert (manifest.golden.count, manifest.volume["heatmap_size"]) == (16, 16)
    assert all(report["outcome"] == "pass" for report in manifest.parity_at_home)


def test_no_file_tells_where_it_was_made(once_bundle: Path, once_export: Path) -> None:
    places = [str(ROOT).encode(), str(once_export.parents[1]).encode()]
    for path in (path for path in once_bundle.rglob("*") if path.is_file() and path.parent.name != "engines"):
        content = path.read_bytes()
        assert not any(place in content for place in places), path
    assert not list(once_bundle.rglob("__pycache__"))


def test_modes(once_bundle: Path) -> None:
    for path in once_bundle.rglob("*"):
        program = path.is_dir() or path.name in ("verify.py", "build.py", "build.sh")
        assert path.stat().st_mode & 0o777 == (0o755 if program else 0o644), path


def test_goldens_are_the_first_that_parity_was_judged_on(once_bundle: Path, once_export: Path) -> None:
    with np.load(once_bundle / "golden.npz") as file, np.load(once_export / TRUTH) as known:
        np.testing.assert_array_equal(file["images"], known["images"][:16])
        np.testing.assert_array_equal(file["truth"], known["truth"][:16])
        assert file["truth"].dtype == np.float64
        images, truth = file["images"], file["truth"]
    assert (once_bundle / "golden/images.u8").read_bytes() == images.tobytes()
    assert (once_bundle / "golden/joints.f64").read_bytes() == truth.astype("<f8").tobytes()


def test_budgets_carry_their_reasons_and_the_limits_that_follow(once_bundle: Path, once_export: Path) -> None:
    contents = choose_contents(once_export)
    goldens = make_goldens(contents, None)
    volume = Volume.of(contents.manifest.architecture)
    for precision, budget in manifest_of(once_bundle).budgets.items():
        known = budget_for(precision, trained=True)
        assert budget.reason == known.reason
        limits = {(limit.statistic, limit.reason): limit.allowed_mm for limit in budget.limits}
        for statistic in ("max", "mean", "p99"):
            own = getattr(known, f"{statistic}_mm")
            assert limits.get((statistic, known.reason)) == own
        beside = distance(goldens.truth, goldens.references[precision], volume).mean_mm
        factor = [value for (_, reason), value in limits.items() if "× the" in reason]
        assert factor == ([pytest.approx(1.5 * beside)] if beside > 0.01 else [])


def test_the_readme_says_what_is_allowed_and_why(once_bundle: Path) -> None:
    said = (once_bundle / "README.md").read_text()
    for precision, budget in manifest_of(once_bundle).budgets.items():
        [line] = [line for line in said.splitlines() if line.startswith(f"- **{precision}**: ")]
        assert line.endswith(budget.reason)
        for limit in budget.limits:
            assert f"{limit.statistic} {limit.allowed_mm:.3g} mm" in line
    assert "@" not in said


def test_whose_the_parts_are(once_bundle: Path) -> None:
    said = (once_bundle / "licences/NOTICE.md").read_text()
    assert manifest_of(once_bundle).weights.sha256 in said
    assert "drawn figures, seed 1019, the first 16. This project drew them" in said
    assert ("TensorRT-RTX" in said) == bool(manifest_of(once_bundle).engines)


def test_stand_in_weights_are_said_to_be_that(exported: Path, tmp_path: Path, unproven: None) -> None:
    path = exported / "manifest.json"
    rewrite(path, lambda text: text.replace(b'"origin": "checkpoint"', b'"origin": "stand-in"'))
    bundle = write_bundle(exported, tmp_path / "out", BundlePlan(with_engines=False, archive=False)).folder
    manifest = manifest_of(bundle)
    assert manifest.weights.notice == "latency is meaningful, poses are not"
    assert "poses are not" in (bundle / "README.md").read_text()
    assert "weights stand-in" in (bundle / "golden/facts.txt").read_text()
    half = manifest.budgets["fp16"]
    assert "stand-in weights do not tell what a precision costs" in half.reason
    assert [limit.statistic for limit in half.limits] == ["mean"]
    assert "× the rounded FP16 reference's own" in half.limits[0].reason


# ── the same inputs, the same bytes ──────────────────────────────────────────────────────────────────────────────────


def test_the_same_inputs_give_the_same_bytes(once_export: Path, tmp_path: Path, unproven: None) -> None:
    """Whatever the time, the place and the user's mask."""
    mask = os.umask(0o077)
    try:
        first = write_bundle(once_export, tmp_path / "a", QUICK)
    finally:
        os.umask(mask)
    for path in tmp_path.joinpath("a").rglob("*"):
        os.utime(path, (1, 1))
    second = write_bundle(once_export, tmp_path / "elsewhere/b", QUICK)
    assert first.id == second.id
    assert first.archive is not None
    assert second.archive is not None
    assert first.archive_sha256 == sha256_file(first.archive) == sha256_file(second.archive)
    said = (tmp_path / "a/once-bundle.sha256").read_text()
    assert said == f"{first.id}  once-bundle/manifest.json\n{first.archive_sha256}  once-bundle.zip\n"
    check = ["sha256sum", "--check", "once-bundle.sha256"]
    assert subprocess.run(check, cwd=tmp_path / "a", check=False, capture_output=True).returncode == 0


def test_other_inputs_give_another_id(once_export: Path, tmp_path: Path, unproven: None) -> None:
    ids = {
        write_bundle(once_export, tmp_path / name, BundlePlan(precisions, False, archive=False)).id
        for name, precisions in (("a", ("fp32",)), ("b", ("fp16",)), ("c", ("fp32", "fp16")))
    }
    assert len(ids) == 3


def test_the_archive_is_the_folder(once_export: Path, tmp_path: Path, unproven: None) -> None:
    written = write_bundle(once_export, tmp_path, QUICK)
    assert written.archive is not None
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


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def unproven_fp32(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["artifacts"][0]["status"] = "parity fail"
    rewrite(exported / "manifest.json", lambda _: json.dumps(manifest).encode())


def plant_joints(exported: Path, change: Callable[[Any], Any], file: str = TRUTH, name: str = "truth") -> None:
    with np.load(exported / file) as known:
        arrays = dict(known)
    arrays[name] = change(arrays[name])
    (exported / file).unlink()
    np.savez(exported / file, **arrays)


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda folder: rewrite(folder / "onnx/once-fp32.onnx", flip_last), BadInput, "it was changed since"),
        (lambda folder: (folder / "onnx/once-fp32.onnx").unlink(), BadInput, "it is gone"),
        (unproven_fp32, CheckFailed, r"once-fp32\.onnx is not proven — parity fail"),
        (lambda folder: (folder / TRUTH).unlink(), BadInput, "no images that parity was judged on"),
        (lambda folder: (folder / "manifest.json").unlink(), BadInput, "there is no manifest"),
        (
            lambda folder: plant_joints(folder, lambda truth: np.broadcast_to(truth.mean(axis=0), truth.shape)),
            Inconclusive,
            "these goldens would prove nothing",
        ),
        (
            lambda folder: plant_joints(folder, lambda truth: truth + 0.01),
            CheckFailed,
            "the bundle's own verifier refuses it — fail: .*once-bundle|the bundle's own verifier refuses it — fail",
        ),
    ],
)
def test_what_is_not_shipped(
    exported: Path, tmp_path: Path, damage: Callable[[Path], Any], kind: type[Exception], said: str
) -> None:
    damage(exported)
    with pytest.raises(kind, match=said):
        write_bundle(exported, tmp_path / "out", QUICK)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_bundle_that_nothing_here_runs_is_not_written(
    once_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BF16 alone, on a Python without OpenVINO: the verifier is run by one that hides the package."""
    hidden = tmp_path / "python"
    code = "import sys, runpy; sys.modules['openvino'] = None; sys.argv = sys.argv[1:]; "
    code += "sys.path.insert(0, ''); runpy.run_path(sys.argv[0], run_name='__main__')"
    hidden.write_text(f"""#!/bin/sh\nshift\nexec {sys.executable} -I -c "{code}" "$@"\n""")
    hidden.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hidden))
    bf16 = BundlePlan(precisions=("bf16",), with_engines=False)
    with pytest.raises(NotPossible, match=r"nothing here runs the bundle.*openvino"):
        write_bundle(once_export, tmp_path / "out", bf16)
    assert not list((tmp_path / "out").iterdir())


def test_a_bundle_stays_where_the_next_one_fails(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_bundle(exported, out, QUICK)
    plant_joints(exported, lambda truth: truth + 0.01)
    with pytest.raises(CheckFailed):
        write_bundle(exported, out, QUICK)
    assert bundle_id((first.folder / "manifest.json").read_bytes()) == first.id
    assert not list(out.glob(PARTIAL_PREFIX + "*"))
    plant_joints(exported, lambda truth: truth - 0.01)
    assert verify(write_bundle(exported, out, QUICK).folder, "--hashes-only").returncode == 0  # and it is replaced


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_is_no_bundle_is_not_replaced(once_export: Path, tmp_path: Path, kind: str, unproven: None) -> None:
    place = tmp_path / "once-bundle"
    (tmp_path / "precious").mkdir()
    {"folder": place.mkdir, "link": lambda: place.symlink_to("precious"), "file": place.touch}[kind]()
    with pytest.raises(BadInput, match="would be replaced, and is no bundle"):
        write_bundle(once_export, tmp_path, QUICK)
    assert place.exists()


# ── the user's own crops ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    for index, figure in enumerate(draw_figures(COUNT, EVALUATION_SEED)):
        write_image(folder / f"{index:02}.png", figure.image)
    return folder


def test_goldens_of_the_users_crops(once_export: Path, tmp_path: Path, crops: Path) -> None:
    bundle = write_bundle(once_export, tmp_path, BundlePlan(with_engines=False, images=crops, archive=False))
    assert {row["status"] for row in bundle.verified["results"]} <= {"pass", "not run"}
    assert sum(row["status"] == "pass" for row in bundle.verified["results"]) >= 6
    assert manifest_of(bundle.folder).golden.source == f"crops from folder {crops.name}"
    whose = (bundle.folder / "licences/NOTICE.md").read_text()
    assert f"crops from folder {crops.name}. They are the images of whoever wrote this bundle" in whose
    assert "TensorRT-RTX" not in whose  # no engines were asked for
    with np.load(bundle.folder / "golden.npz") as file:
        assert file["images"].shape == (16, 256, 256, 3)
        np.testing.assert_array_equal(file["images"][0], draw_figures(1, EVALUATION_SEED)[0].image)
        assert set(file) >= {"reference_fp32", "reference_fp16", "reference_bf16", "reference_int8"}


def test_too_few_crops(once_export: Path, tmp_path: Path, crops: Path) -> None:
    few = Path(shutil.copytree(crops, tmp_path / "few"))
    (few / "03.png").unlink()
    with pytest.raises(BadInput, match=r"too few images in .* 15 readable of 15 files .* 16 crops"):
        write_bundle(once_export, tmp_path / "out", BundlePlan(images=few))
    shutil.copyfile(few / "04.png", few / "03.png")
    with pytest.raises(BadInput, match="goldens need 16 distinct images — 15 in"):
        write_bundle(once_export, tmp_path / "out", BundlePlan(images=few))


# ── the command, and the recipe ──────────────────────────────────────────────────────────────────────────────────────


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


TRTEXEC = """#!/bin/sh
if [ "$1" = --help ]; then echo '&&&& RUNNING TensorRT.trtexec [TensorRT v@VERSION@] [b26]'; exit 0; fi
pwd -P >> "$LOG"; printf '%s\\n' "$@" >> "$LOG"; echo >> "$LOG"
for a in "$@"; do
    case $a in
    --onnx=*${REFUSED:-nothing}*) exit 7 ;;
    --onnx=*) [ -f "${a#*=}" ] || exit 9 ;;
    --saveEngine=* | --exportLayerInfo=* | --timingCacheFile=*) echo planted > "${a#*=}" || exit 9 ;;
    esac
done
"""


def run_script(
    bundle: Path, place: Path, version: str, shell: Sequence[str] = ("sh",), named: Sequence[str] = (), **more: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    program, log = place / "trtexec", place / "log"
    program.write_text(TRTEXEC.replace("@VERSION@", version))
    program.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "LOG": str(log), "TRTEXEC": str(program)}
    environment |= {"OUT": str(place / "out")} | more
    run = subprocess.run(
        [*shell, bundle / "build.sh", *named], env=environment, capture_output=True, text=True, check=False
    )
    return run, log.read_text().strip().split("\n\n") if log.exists() else []


@pytest.mark.parametrize(("version", "major"), [("100300", 10), ("101600", 10), ("110401", 11)])
def test_the_script_runs_the_recipes_commands(
    once_bundle: Path, once_export: Path, tmp_path: Path, version: str, major: int
) -> None:
    run, calls = run_script(once_bundle, tmp_path, version)
    assert run.returncode == 0, run.stderr
    contents = choose_contents(once_export)
    recipe = recipe_of(
        contents.manifest.model_copy(update={"artifacts": list(contents.onnx)}), BundlePlan().engine_plan
    )
    expected = [list(model.trtexec[str(major)][1:]) for model in recipe.models]
    assert [call.splitlines()[1:] for call in calls] == expected
    assert {call.splitlines()[0] for call in calls} == {str((tmp_path / "out").resolve())}
    for name in ("fp32", "fp16", "bf16", "int8"):  # all that a command names has a folder to lie in
        assert (tmp_path / f"out/engines/once-{name}.trtexec.engine").is_file()
        assert (tmp_path / f"out/engines/once-{name}.trtexec.layers.json").is_file()
    assert verify(once_bundle, "--hashes-only").returncode == 0  # nothing was put into the bundle


def test_the_script_builds_nothing_it_should_not(once_bundle: Path, tmp_path: Path) -> None:
    for version, said in (("8502", "this TensorRT is too old"), ("120000", "this recipe knows TensorRT 10 and 11")):
        run, calls = run_script(once_bundle, tmp_path, version)
        assert_three_parts(run, 4)
        assert said in run.stderr
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


def test_the_script_builds_what_can_be_built_and_tells_what_cannot(once_bundle: Path, tmp_path: Path) -> None:
    run, calls = run_script(once_bundle, tmp_path, "100300", REFUSED="fp16")
    assert_three_parts(run, 1)
    assert "none of fp16;" in run.stderr
    assert len(calls) == 4
    built = sorted(path.name for path in (tmp_path / "out/engines").glob("*.engine"))
    assert built == [f"once-{name}.trtexec.engine" for name in ("bf16", "fp32", "int8")]


def test_the_script_builds_the_precisions_that_are_named(once_bundle: Path, tmp_path: Path) -> None:
    run, calls = run_script(once_bundle, tmp_path, "100300", named=("int8", "fp32"), REFUSED="fp16")
    assert run.returncode == 0, run.stderr
    assert ["int8" in call for call in calls] == [False, True]
    assert len(calls) == 2
    run, again = run_script(once_bundle, tmp_path, "100300", named=("fp8",))
    assert_three_parts(run, 2)
    assert "seen:  fp8" in run.stderr
    assert again == calls


def test_the_scripts_folder_is_not_the_runtimes(once_bundle: Path, tmp_path: Path) -> None:
    """With the usual umask of Ubuntu the group may write to it, and the runtime would refuse its own."""
    command = ("sh", "-c", 'umask 002; exec sh "$@"', "sh")
    run, _ = run_script(once_bundle, tmp_path, "100300", command, named=("fp16",), OUT="")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / ".cache/pose_trtexec/engines/once-fp16.trtexec.engine").is_file()
    assert not (tmp_path / ".cache/pose_runtime").exists()


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix")])
def test_the_script_runs_in_every_posix_shell_without_the_right_to_be_executed(
    once_bundle: Path, tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """As Python's zipfile unpacks it; twice, since the second run finds what the first has left."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "build.sh", lambda text: text)
    assert not os.access(bundle / "build.sh", os.X_OK)
    for times in (1, 2):
        program = os.path.relpath(tmp_path / "trtexec")  # stays the same program wherever the script goes
        run, calls = run_script(bundle, tmp_path, "101600", shell, TRTEXEC=program)
        assert (run.returncode, len(calls)) == (0, 4 * times), run.stderr


def test_no_text_calls_a_script_that_may_have_lost_its_right_to_run(once_bundle: Path) -> None:
    texts = [*once_bundle.rglob("*.md"), once_bundle / "build.sh", *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    texts += [*(ROOT / "export/bundle").rglob("*.py"), *(ROOT / "export/bundle/templates").iterdir()]
    for path in texts:
        found = re.findall(r"\./(?:build|verify)\S*\.(?:sh|py)", path.read_text())
        assert not found, (path, found)
