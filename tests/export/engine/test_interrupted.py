"""Interrupted and killed builds, which leave the old engine and no process."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from export.common.errors import CheckFailed
from export.common.files import PROJECT
from export.engine import build as engine
from export.engine.build import build_engine
from export.engine.plan import EnginePlan
from tests.support.planted_worker import STALLING


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """Return its children that build an engine; other tests and Python itself may have left others."""
    return [child for child in parent.children() if STALLING[-1] in child.cmdline()]


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_worker_leaves_the_old_engine(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(engine, "WORKER", STALLING)

    def kill(text: str, share: float | None = None) -> None:
        if text == "building":
            [worker] = workers_of(psutil.Process())
            worker.send_signal(end)

    with pytest.raises(CheckFailed, match=f"killed by {end.name}"):
        build_engine(tiny, tmp_path / "e", EnginePlan(), kill)
    (tmp_path / "e.failed.log").unlink()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_no_old_record_beside_a_new_engine(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    build_engine(tiny, tmp_path / "e", EnginePlan())
    monkeypatch.setattr(engine, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))
    assert (tmp_path / "e").exists()
    assert not (tmp_path / "e.json").exists()


@pytest.mark.usefixtures("rtx", "no_partial_left")
def test_an_exception_while_listening_ends_the_worker(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WORKER", STALLING)
    workers: list[psutil.Process] = []

    def interrupt(text: str, share: float | None = None) -> None:
        if text == "building":
            workers.extend(workers_of(psutil.Process()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny, tmp_path / "e", EnginePlan(), interrupt)
    assert len(workers) == 1
    assert not workers[0].is_running()
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]


@pytest.mark.usefixtures("rtx")
def test_a_killed_parent_leaves_no_orphan(tiny: Path, tmp_path: Path) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from export.engine import build as engine
        from export.engine.plan import EnginePlan
        engine.WORKER = {STALLING!r}
        def listen(text, share=None):
            if text == "building":
                print("in the middle", flush=True)
        plan = EnginePlan(runtime="tensorrt-rtx")
        engine.build_engine(Path({str(tiny)!r}), Path({str(tmp_path / "e")!r}), plan, listen)
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "in the middle\n"
    [worker] = workers_of(psutil.Process(run.pid))
    run.kill()
    run.communicate(timeout=10)
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
