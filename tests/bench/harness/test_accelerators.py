"""Locks: one benchmark at a time measures an accelerator, whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.fleet import child, device
from bench.fleet.blobs import BlobCache
from bench.fleet.child import COMMAND as REAL
from bench.harness.accelerators import accelerators, lock_accelerators, lock_folder
from cli.signals import INTERRUPTED
from export.common.errors import NotPossible
from export.common.locks import hold_lock
from tests.support.command_line import ROOT, assert_three_parts, in_process
from tests.support.fleet_plans import spec_of

HOLD = """
import sys
from bench.harness.accelerators import lock_folder
from export.common.locks import hold_lock
with hold_lock(lock_folder() / "cpu.lock", print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_benchmark() -> Iterator["subprocess.Popen[bytes]"]:
    """Hold this machine's processor in another process, until its standard input is closed."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            yield other
        finally:
            other.kill()


def test_one_benchmark_at_a_time_measures_an_accelerator(state: Path) -> None:
    waits = list[tuple[str, str]]()

    with another_benchmark() as other:

        def on_wait(name: str, holder: str) -> None:
            waits.append((name, holder))
            assert other.stdin is not None
            other.stdin.close()

        with lock_accelerators(("onnxruntime",), None, on_wait):
            assert other.wait() == 0  # it has released the lock
    ((name, holder),) = waits
    assert name == "cpu"
    if sys.platform == "linux":
        assert holder.startswith(f"process {other.pid}, {Path(sys.executable).name} -c ")
    with lock_accelerators((), None, on_wait):
        assert len(waits) == 1


def test_the_gpu_is_locked_if_one_answers_and_a_runtime_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.driver.first_bus_id", lambda: "00000000:01:00.0")
    gpu = ["cpu", "gpu-00000000-01-00-0"]
    assert accelerators(("onnxruntime", "openvino"), None) == ["cpu"]
    assert accelerators(("onnxruntime",), "pytorch-cuda") == accelerators(("tensorrt",), None) == gpu
    assert accelerators(None, None) == gpu

    def no_driver() -> str:
        raise OSError("no driver")

    monkeypatch.setattr("bench.machine.driver.first_bus_id", no_driver)
    assert accelerators(None, None) == ["cpu"]


@pytest.fixture
def export(demo_export: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_export, tmp_path / "XS-atto", copy_function=os.link))


def test_a_benchmark_by_hand_waits_for_a_fleets_and_ctrl_c_ends_the_wait(export: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "bench", str(export), "--runtime", "onnxruntime"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    lock = tmp_path / f"convnextpose-{os.getuid()}" / "cpu.lock"
    with (
        hold_lock(lock, lambda: None),
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as run,
    ):
        assert run.stderr is not None
        line = next(line for line in run.stderr if "waiting" in line)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60) == INTERRUPTED
    assert "runs on cpu" in line
    if sys.platform == "linux":
        assert f"process {os.getpid()}, " in line
    assert not list((export / "bench").iterdir())


def test_a_mistake_is_reported_without_waiting(
    export: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lock(lock_folder() / "cpu.lock", lambda: None):
        for command in (("bench", export), ("compare", export, export)):
            done = in_process(*command, "--runtime", "abacus", cwd=state.parent)
            assert_three_parts(done, 2)
            assert "waiting" not in done.stderr


def test_workers_with_different_state_folders_share_the_locks(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process waits for any benchmark on this machine, wherever that keeps its results."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    spec, messages = spec_of("A", sources, deadline_s=1), list[str]()
    monkeypatch.setattr(child, "WAITING_DEADLINES", 2)
    for name in ("one", "two"):
        monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / name))
        with hold_lock(lock_folder() / "cpu.lock", lambda: None):
            outcome = device.run_job(spec, False, messages.append).outcome
        assert outcome.reason.startswith("it did not begin within 2 s")
    said = "waiting for the accelerator: something else is measured on cpu"
    waited = [text for text in messages if text.startswith(said)]
    assert len(waited) == 2
    if sys.platform == "linux":
        assert waited[0] == f"{said}, by process {os.getpid()}"


def a_file(place: Path) -> None:
    place.touch()


def a_link(place: Path) -> None:
    place.with_name("elsewhere").mkdir()
    place.symlink_to(place.with_name("elsewhere"))


def a_lock_that_is_a_folder(place: Path) -> None:
    (place / "cpu.lock").mkdir(parents=True)


@pytest.mark.parametrize("planted", [a_file, a_link, a_lock_that_is_a_folder])
def test_unusable_locks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    planted(tmp_path / f"convnextpose-{os.getuid()}")
    with pytest.raises(NotPossible, match="cannot lock this machine"), lock_accelerators((), None, lambda *_: None):
        pass


def test_another_users_folder_of_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no user ids")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(NotPossible, match="convnextpose-4711"):
        lock_folder()
