"""What a bundle's verifier accepts, and what it refuses: every kind of change, with its reason."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_runtime.bundle import Bundle
from pose_runtime.volume import Volume as DeviceVolume
from pose_verify.goldens import Goldens, in_batches, judge, nearest_rank
from pose_verify.latency import FLOORS, ROUNDS, Protocol, paired_ratio, summarise, take_turns
from pose_verify.session import outcome_of
from pose_verify.table import show

from bench.device_report import SCHEMA_VERSION, read_device_report
from bench.statistics import percentile_floor
from export.errors import BadInput
from export.parity import NEEDED_SIGNAL_MM, distance
from export.pose import CUBE_MM, Volume
from tests.bundles import change_manifest, copied, flip_last, rehash, report_of, rewrite, verify
from tests.command_line import assert_three_parts, convnextpose

Bundled = Callable[[], Path]


@pytest.fixture
def bundle(once_bundle: Path, tmp_path: Path) -> Path:
    return copied(once_bundle, tmp_path)


# ── a whole bundle ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bundle_proves_itself_and_reports(bundle: Path) -> None:
    run = verify(bundle, "--seconds", 1)
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
    assert report.bundle.id == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert report.outcome == "pass"
    rows = {(row.runtime, row.precision): row for row in report.results}
    assert len(rows) == 16
    for (runtime, precision), row in rows.items():
        if runtime.startswith("tensorrt") or (runtime, precision) == ("onnxruntime", "bf16"):
            assert (row.status, row.parity, row.latency) == ("not run", None, None)
            assert row.reason
            continue
        if row.status == "not run":
            assert (runtime, precision) == ("openvino", "int8")  # a processor whose integer sums saturate
            continue
        assert row.parity is not None
        assert row.parity.outcome == "pass"
        assert row.parity.images == 16
        assert row.computes_in
        assert row.threads == len(os.sched_getaffinity(0))
        assert row.artifact_sha256 == Bundle(bundle).onnx(precision)["sha256"]
        assert row.latency is not None
        assert row.latency.rounds >= 3
        assert row.latency.samples == sum(map(len, row.latency.rounds_ms)) == 4 * row.latency.rounds
        assert row.latency.p99_ms is None  # there are not 662 samples
    assert report.overhead is not None
    assert report.overhead.runtime == "onnxruntime"
    assert report.settings is not None
    assert report.settings.affinity == sorted(os.sched_getaffinity(0))
    assert f"onnxruntime with {len(os.sched_getaffinity(0))} thread" in run.stdout
    assert "weights: checkpoint" in run.stdout
    assert verify(bundle, "--hashes-only").returncode == 0  # its own report is no stranger


def test_only_what_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere.json"
    run = verify(bundle, "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp16,fp32", "--out", out)
    assert run.returncode == 0, run.stderr
    report = read_device_report(out)
    assert [(row.runtime, row.precision) for row in report.results if row.asked] == [
        ("onnxruntime", "fp16"),
        ("onnxruntime", "fp32"),
    ]
    others = [row for row in report.results if not row.asked]
    assert len({(row.runtime, row.precision) for row in others}) == 14
    assert {(row.status, row.reason) for row in others} == {
        ("not run", "not asked for: --runtime onnxruntime --precision fp16,fp32")
    }
    assert "not asked for: tensorrt (fp32, fp16, bf16, int8); tensorrt_rtx (fp32" in run.stdout
    assert report.protocol is None
    assert not (bundle / "device-report.json").exists()


def test_the_id_is_the_manifests_hash(bundle: Path) -> None:
    own = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert verify(bundle, "--id").stdout.strip() == own
    assert verify(bundle, "--hashes-only", "--expect", own).returncode == 0
    assert verify(bundle, "--id", "--expect", own).stdout.strip() == own
    for ending in ("--hashes-only", "--id"):
        run = verify(bundle, ending, "--expect", "0" * 64)
        assert_three_parts(run, 1)
        assert "not the bundle that was expected" in run.stderr
        assert run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--runtime", "pytorch"), 2, "pytorch"),
        (("--precision", "fp8"), 2, "fp8"),
        (("--seconds", "-1"), 2, "--seconds -1"),
        (("--seconds", "nan"), 2, "--seconds nan"),
        (("--seconds", "inf"), 2, "--seconds inf"),
        (("--threads", "0"), 2, "--threads 0"),
        (("--threads", "99999"), 2, "--threads 99999"),
        (("--runtime", "onnxruntime", "--no-build"), 2, "--no-build would change nothing"),
        (("--out", "/dev/null"), 2, "no plain file lies there"),
        (("--runtime", "tensorrt,tensorrt_rtx", "--threads", "1"), 2, "--threads would change nothing"),
        (("--id", "--hashes-only"), 2, "--id ends before other switches count"),
        (("--id", "--out", "x.json"), 2, "--out"),
        (("--hashes-only", "--seconds", "0"), 2, "--seconds"),
        (("--hashes-only", "--threads", "2", "--no-build"), 2, "--threads --no-build"),
        (("--hashes-only", "--runtime", "openvino", "--precision", "fp32"), 2, "--runtime --precision"),
        (("--out", "/nowhere/at/all.json"), 2, "cannot write"),
        (("--out", "BUNDLE/manifest.json"), 2, "among the bundle's files"),
        (("--out", "BUNDLE/pose_runtime/more.json"), 2, "among the bundle's files"),
    ],
)
def test_wrong_arguments(bundle: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    run = verify(bundle, *(of.replace("BUNDLE", str(bundle)) for of in arguments))
    assert_three_parts(run, exit_code)
    assert said in run.stderr


def test_where_nothing_runs_it_nothing_passes(bundle: Path, tmp_path: Path) -> None:
    run = verify(bundle, "--runtime", "tensorrt", "--seconds", 0)
    assert run.returncode == 4, run.stderr
    assert report_of(bundle / "device-report.json")["outcome"] == "not run"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "missing"),
    [
        (("--runtime", "tensorrt,onnxruntime", "--precision", "fp32"), 4, ["tensorrt fp32"]),
        (("--runtime", "onnxruntime,tensorrt_rtx"), 4, ["tensorrt_rtx"]),
        (("--runtime", "onnxruntime", "--precision", "fp32,bf16"), 4, ["onnxruntime bf16"]),
        (("--runtime", "onnxruntime"), 0, []),  # which has no BF16 here, for which nobody asked
        (("--precision", "fp32"), 0, []),
    ],
)
def test_what_was_asked_for_by_name_must_run(
    bundle: Path, arguments: tuple[str, ...], exit_code: int, missing: list[str]
) -> None:
    """There is no GPU here, so that what needs one cannot run."""
    run = verify(bundle, "--seconds", 0, *arguments)
    assert run.returncode == exit_code, run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
    assert (report.outcome, report.missing) == ("not run" if missing else "pass", missing)
    assert "pass" in {row.status for row in report.results}
    if missing:
        assert f"asked for by name, and did not run: {', '.join(missing)}" in run.stdout


@pytest.mark.parametrize(
    ("statuses", "missing", "outcome"),
    [
        (("pass", "not run"), [], "pass"),
        (("pass", "not run"), ["tensorrt"], "not run"),
        (("pass", "fail", "inconclusive", "not run"), ["tensorrt"], "fail"),
        (("pass", "inconclusive", "not run"), ["tensorrt"], "inconclusive"),
        (("not run",), [], "not run"),
    ],
)
def test_the_worst_decides(statuses: tuple[str, ...], missing: list[str], outcome: str) -> None:
    assert outcome_of([{"status": status} for status in statuses], missing) == outcome


# ── a bundle that was changed ────────────────────────────────────────────────────────────────────────────────────────

PLANTED = "import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n"


def add_link(bundle: Path) -> None:
    (bundle / "onnx/once-fp32.onnx").unlink()
    (bundle / "onnx/once-fp32.onnx").symlink_to("/etc/hostname")


def name_outside(bundle: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"].append({"path": "../stolen", "sha256": "0" * 64, "size_bytes": 1})

    change_manifest(bundle, change)


def name_engine(bundle: Path) -> None:
    """An engine that the manifest's engines name, and its files do not."""

    def change(manifest: dict[str, Any]) -> None:
        engine = manifest["engines"][0] if manifest["engines"] else dict(manifest["onnx"][0])
        manifest["engines"].append({**engine, "path": "engines/other.rtx.engine"})

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
    "a byte of a model": (changed("onnx/once-fp16.onnx"), "onnx/once-fp16.onnx was changed", 1),
    "a byte of the goldens": (changed("golden.npz"), "golden.npz was changed", 1),
    "code of the runtime": (
        changed("pose_runtime/__init__.py", lambda code: code + PLANTED.encode()),
        "pose_runtime/__init__.py was changed",
        1,
    ),
    "code that Python cannot read": (changed("pose_runtime/errors.py", lambda _: b"def"), "errors.py was changed", 1),
    "a shorter file": (changed("build.sh", lambda text: text[:100]), "build.sh was changed", 1),
    "a module added": (add("pose_runtime/runtimes/evil.py"), "evil.py is not in the manifest", 1),
    "a module that hides NumPy": (add("numpy.py", PLANTED.encode()), "numpy.py is not in the manifest", 1),
    "an engine added": (add("engines/once-fp16.trt.engine", b"ftrt"), "once-fp16.trt.engine is not in the manifest", 1),
    "an empty folder added": (lambda bundle: (bundle / "onnx/more").mkdir(), "onnx/more is not in the manifest", 1),
    "empty folders added": (
        lambda bundle: (bundle / "numpy/core").mkdir(parents=True),
        "numpy/core is not in the manifest",
        1,
    ),
    "a file missing": (lambda bundle: (bundle / "build.py").unlink(), "build.py is missing", 1),
    "a folder missing": (lambda bundle: shutil.rmtree(bundle / "golden"), "golden/facts.txt is missing", 1),
    "a link": (add_link, "onnx/once-fp32.onnx is a link", 1),
    "a link to a folder": (lambda bundle: (bundle / "more").symlink_to("/etc"), "more is a link", 1),
    "a pipe": (lambda bundle: os.mkfifo(bundle / "pipe"), "pipe is no plain file", 1),
    "a manifest that names a place outside": (name_outside, "names a file outside of the bundle", 1),
    "an engine that is not among the files": (name_engine, "engines/other.rtx.engine is named by the manifest", 1),
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
    "a manifest without files": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest.pop("files")),
        "is no manifest of a bundle",
        2,
    ),
    "a path that is no text": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["onnx"][0].update(path=3)),
        "is no manifest of a bundle",
        2,
    ),
    "a file without its size": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["files"][0].pop("size_bytes")),
        "is no manifest of a bundle",
        2,
    ),
    "a manifest that is no JSON": (changed("manifest.json", lambda text: text[:50]), "is no manifest of a bundle", 2),
    **{
        f"a manifest without its {key}": (without(key), "manifest.json lacks what a bundle needs", 2)
        for key in ("weights", "model", "preprocessing", "volume", "joints", "budgets")
    },
    "a manifest without the origin of its weights": (
        lambda bundle: change_manifest(bundle, lambda manifest: manifest["weights"].pop("origin")),
        "seen:  weights.origin",
        2,
    ),
    "a manifest nested too deeply": (
        changed("manifest.json", lambda _: b"[" * 200_000),
        "is no manifest of a bundle",
        2,
    ),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "there is no bundle", 2),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_every_tampering_is_refused_with_its_reason(bundle: Path, tampering: str) -> None:
    tamper, said, exit_code = TAMPERINGS[tampering]
    tamper(bundle)
    run = verify(bundle, "--seconds", 0)
    assert_three_parts(run, exit_code)
    assert said in run.stderr
    assert not (bundle / "device-report.json").exists()
    assert not list(bundle.rglob("executed"))  # nothing of it was run


def test_no_file_of_a_damaged_bundle_is_to_be_removed(bundle: Path) -> None:
    """One that the manifest does not know may be good, and the manifest damaged."""
    rewrite(bundle / "manifest.json", lambda text: text.replace(b"pose_runtime/errors.py", b"pose_runtime/errorr.py"))
    run = verify(bundle, "--hashes-only")
    assert_three_parts(run, 1)
    assert "pose_runtime/errors.py is not in the manifest" in run.stderr
    assert "remove" not in run.stderr
    assert "copy the bundle again" in run.stderr


@pytest.mark.parametrize("program", ["verify.py", "build.py"])
def test_a_python_without_numpy_is_told_what_to_install(bundle: Path, program: str) -> None:
    command = [sys.executable, "-I", "-S", str(bundle / program)]  # without site-packages
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert_three_parts(run, 4)
    assert "NumPy is not installed" in run.stderr
    assert "apt install python3-numpy" in run.stderr


def test_the_builder_compares_hashes_with_its_own_verifier(bundle: Path, tmp_path: Path) -> None:
    """And not with one of that name that PYTHONPATH leads to."""
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
def test_no_file_is_taken_for_one_of_pythons_own(bundle: Path, program: str, python_path: str | None) -> None:
    """Python looks into the program's folder first, unless it is told not to with -I, and into PYTHONPATH's.

    What Python itself imports while it starts, no program can keep it from taking from PYTHONPATH.
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


def test_what_was_compiled_of_the_verifier_is_not_run_by_the_builder(bundle: Path, tmp_path: Path) -> None:
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

    source, compiled = bundle / "pose_runtime/errors.py", bundle / "pose_runtime/__pycache__"
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


def test_who_changes_the_manifest_too_is_found_by_the_id_alone(bundle: Path) -> None:
    """As the bundle's README says."""
    own = verify(bundle, "--id").stdout.strip()
    rewrite(bundle / "build.sh", lambda text: text + b"# planted\n")
    rehash(bundle)
    assert verify(bundle, "--hashes-only").returncode == 0
    run = verify(bundle, "--hashes-only", "--expect", own)
    assert_three_parts(run, 1)


# ── joints that are off ──────────────────────────────────────────────────────────────────────────────────────────────


def plant_truth(bundle: Path, change: Callable[[Any], Any]) -> None:
    with np.load(bundle / "golden.npz") as file:
        arrays = dict(file)
    arrays["truth"] = change(arrays["truth"])
    written = io.BytesIO()
    np.savez(written, **arrays)
    rewrite(bundle / "golden.npz", lambda _: written.getvalue())
    rehash(bundle)


@pytest.mark.parametrize(
    ("change", "exit_code", "outcome"),
    [
        (lambda truth: truth + 0.1, 1, "fail"),  # 6 mm
        (lambda truth: np.full_like(truth, truth.mean()), 3, "inconclusive"),
        (lambda truth: np.where(np.arange(truth.size).reshape(truth.shape) == 7, np.nan, truth), 3, "inconclusive"),
    ],
)
def test_joints_are_judged(bundle: Path, change: Callable[[Any], Any], exit_code: int, outcome: str) -> None:
    plant_truth(bundle, change)
    run = verify(bundle, "--runtime", "onnxruntime", "--precision", "fp32", "--seconds", 1)
    assert run.returncode == exit_code, run.stdout + run.stderr
    [row] = [row for row in report_of(bundle / "device-report.json")["results"] if row["asked"]]
    assert (row["status"], row["latency"]) == (outcome, None)  # what did not pass is not timed
    assert row["reason"] in run.stdout


@pytest.fixture(scope="module")
def goldens() -> Goldens:
    truth = np.random.default_rng(3).uniform(4, 28, (16, 18, 3))
    return Goldens(np.zeros((16, 8, 8, 3), np.uint8), truth, DeviceVolume(32, 64, 256, CUBE_MM))


def test_distances_are_those_of_the_export(goldens: Goldens) -> None:
    bins = (goldens.truth + np.random.default_rng(4).normal(0, 0.01, goldens.truth.shape)).astype(np.float32)
    ours = distance(goldens.truth, bins, Volume(32, 64, 256))
    limit = [{"statistic": "max", "allowed_mm": 1e9, "reason": "none"}]
    seen = judge(goldens, bins, limit, NEEDED_SIGNAL_MM)
    assert seen["outcome"] == "pass"
    found = [seen[f"{name}_mm"] for name in ("mean", "p99", "max")]
    np.testing.assert_allclose(found, [ours.mean_mm, ours.p99_mm, ours.max_mm], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "limits", "outcome"),
    [
        (lambda bins: bins, [("max", 0.0)], "pass"),
        (lambda bins: bins + 1e-3, [("max", 0.01)], "fail"),
        (lambda bins: bins + 1e-3, [("max", 1.0), ("mean", 0.01)], "fail"),
        (lambda bins: bins * np.nan, [("max", 1e9)], "fail"),
        (lambda bins: np.where(bins == bins.max(), np.inf, bins), [("mean", 1e9)], "fail"),
        (lambda bins: bins, [], "inconclusive"),
    ],
)
def test_a_judgement_that_can_fail(
    goldens: Goldens, change: Callable[[Any], Any], limits: list[tuple[str, float]], outcome: str
) -> None:
    bounds = [{"statistic": name, "allowed_mm": allowed, "reason": "test"} for name, allowed in limits]
    seen = judge(goldens, change(goldens.truth), bounds, NEEDED_SIGNAL_MM)
    assert seen["outcome"] == outcome
    json.dumps(seen, allow_nan=False)


def test_batches_of_one_and_of_many_cover_all() -> None:
    assert in_batches(16, 5) == [(0, 1), (1, 6), (6, 11), (11, 16)]
    assert in_batches(16, 1) == [(at, at + 1) for at in range(16)]
    for count in range(2, 20):
        for largest in range(1, 9):
            parts = in_batches(count, largest)
            assert [at for low, high in parts for at in range(low, high)] == list(range(count))
            assert max(high - low for low, high in parts) <= largest


# ── latency ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    """Time that passes only in runs and pauses."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, []  # type: tuple[float, list[str]]

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            self.log.append(name)

        return work

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_all_take_their_turn_in_every_round() -> None:
    clock = Clock()
    contenders = {name: clock.run(name, seconds) for name, seconds in (("a", 0.01), ("b", 0.02), ("c", 0.03))}
    taken = take_turns(contenders, Protocol(1e9), clock, clock.pause)
    for name, expected in (("a", 10), ("b", 20), ("c", 30)):
        np.testing.assert_allclose(taken[name], np.full((ROUNDS, 4), expected))
    visits = [clock.log[at] for at in range(0, len(clock.log), 5)]  # one untimed run, and four
    rounds = [visits[at : at + 3] for at in range(0, len(visits), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert all(after == before[::-1] for before, after in zip(rounds[::2], rounds[1::2], strict=True))
    assert len({tuple(order) for order in rounds}) > 2
    ratio = paired_ratio(taken["a"], taken["c"])
    assert ratio == pytest.approx(3)


def test_time_ends_the_rounds_and_three_are_always_made() -> None:
    clock = Clock()
    assert len(take_turns({"a": clock.run("a", 10)}, Protocol(1), clock, clock.pause)["a"]) == 3
    assert len(take_turns({"a": clock.run("a", 0.19)}, Protocol(10), clock, clock.pause)["a"]) == 10
    assert take_turns({}, Protocol(10), clock, clock.pause) == {}


def test_one_that_breaks_leaves_the_others_running() -> None:
    clock, left, said = Clock(), [7], []  # type: tuple[Clock, list[int], list[str]]

    def breaking() -> None:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("planted")

    contenders = {"a": clock.run("a", 0.01), "b": breaking, "c": clock.run("c", 0.01)}
    with pytest.raises(RuntimeError, match="planted"):
        take_turns(dict(contenders), Protocol(1e9), clock, clock.pause)
    left[0] = 7
    taken = take_turns(
        contenders, Protocol(1e9), clock, clock.pause, broke=lambda name, failure: said.append(f"{name}: {failure}")
    )
    assert said == ["b: planted"]
    assert {name: len(rounds) for name, rounds in taken.items()} == {"a": ROUNDS, "c": ROUNDS}


@pytest.mark.parametrize(("share", "said"), [(0.053, "takes 5.3 % more than"), (-0.008, "takes 0.8 % less than")])
def test_a_call_takes_more_or_less_than_the_network_alone(
    bundle: Path, capsys: pytest.CaptureFixture[str], share: float, said: str
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    about = {"model": "once", "weights_origin": "checkpoint"}
    told: dict[str, Any] = {"results": [], "missing": [], "outcome": "pass"}
    device = {"gpu": None, "no_gpu": "none", "board": None, "processor": "a processor", "machine": "x86_64"}
    told["device"] = device | {"cores": 2, "usable_cores": 2, "l4t": None}
    told["settings"] = {"power_mode": None, "cpu_clocks": [], "gpu_clocks": [], "cpu_limit": None}
    told["overhead"] = {"runtime": "onnxruntime", "precision": "fp32", "share": share, "rounds": 20}
    told["bundle"] = about
    show(told, manifest, Path("report.json"))
    assert said in capsys.readouterr().out


def test_percentiles_need_their_samples() -> None:
    for name, (quantile, floor) in FLOORS.items():
        assert floor == percentile_floor(quantile), name
    few, many = [[1.0, 2.0, 3.0, 4.0]] * (ROUNDS - 1), [[1.0, 2.0, 3.0, 4.0]] * ROUNDS
    assert (summarise(few)["p90_ms"], summarise(many)["p90_ms"], summarise(many)["p99_ms"]) == (None, 4.0, None)
    assert summarise([[1.0] * 10] * 7)["p90_ms"] is None  # 70 samples of 7 rounds
    assert summarise([[1.0] * 40] * ROUNDS)["p99_ms"] == 1.0
    values = np.random.default_rng(0).normal(size=101)
    for quantile in (0.0, 0.5, 0.9, 0.99, 1.0):
        assert nearest_rank(values, quantile) == np.quantile(values, quantile, method="inverted_cdf")


# ── the report at home, and verifying from there ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        ("{}", "no report of a device"),
        ("[]", "no report of a device"),
        ("no JSON", "no report of a device"),
        ("[" * 100_000, "no report of a device"),
        (
            '{"kind": "device-report", "schema_version": "0.9"}',
            "schema_version 0.9, not 1.0 or 1.1 or " + SCHEMA_VERSION,
        ),
        ('{"kind": "device-report", "schema_version": "1.0"}', "Field required"),
    ],
)
def test_what_is_no_report_of_this_version(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "device-report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=said):
        read_device_report(path)


def test_a_report_of_the_versions_before_is_read(bundle: Path, tmp_path: Path) -> None:
    """As they were written: without what 1.2, and then what 1.1 has added."""
    assert verify(bundle, "--seconds", 0).returncode == 0
    report = report_of(bundle / "device-report.json")
    del report["settings"]
    for row in report["results"]:
        del row["threads"]
    report["device"]["governor"] = "schedutil"
    before = tmp_path / "before.json"
    before.write_text(json.dumps(report | {"schema_version": "1.1"}))
    seen = read_device_report(before)
    assert (seen.settings, seen.device.governor) == (None, "schedutil")
    del report["missing"]
    for row in report["results"]:
        del row["asked"], row["build_log"]
    report["device"] |= {"no_gpu": None, "gpu": {"name": "Orin", "compute_capability": "8.7", "memory_bytes": 8 << 30}}
    old = tmp_path / "old.json"
    old.write_text(json.dumps(report | {"schema_version": "1.0"}))
    seen = read_device_report(old)
    assert seen.device.gpu is not None
    assert (seen.missing, seen.device.gpu.multiprocessors) == ([], None)
    assert all(row.asked and row.build_log is None for row in seen.results)


def test_the_command_has_the_switches_of_the_bundles_own_verifier() -> None:
    import typer.main
    from verify import switches

    from cli.main import app

    command = typer.main.get_command(app).commands["verify"]  # type: ignore[attr-defined]
    ours = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    theirs = {name for action in switches()._actions for name in action.option_strings if name.startswith("--")}
    assert ours - {"--help"} == theirs - {"--help"}


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


def test_the_command_runs_nothing_of_a_bundle_that_was_changed(bundle: Path, tmp_path: Path) -> None:
    """Not even its verifier, which could say anything."""
    rewrite(bundle / "verify.py", lambda _: PLANTED.encode())
    run = convnextpose("verify", bundle, cwd=tmp_path)
    assert_three_parts(run, 1)
    assert "verify.py was changed" in run.stderr
    assert not (bundle / "executed").exists()
