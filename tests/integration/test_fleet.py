"""Test `convnextpose fleet` on one machine: exit codes, files, and second, resumed and refused runs.

A fake takes the place of the measuring process; ``test_fleet_cluster`` has a scheduler and workers.
"""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from export.common.files import sha256_file
from tests.support.command_line import assert_three_parts
from tests.support.fleet_fake_job import times_measured
from tests.support.fleet_plans import KINDS, jobs_of, record_of, states_of, write_matrix

FILES = ("manifest.json", "bench/result.json", "job.json")

Command = Callable[..., CompletedProcess[str]]


def test_local_run_fills_its_folder_and_a_second_one_does_no_work(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    first = fleet("run", matrix)
    assert first.returncode == 0, first.stderr
    assert states_of(tmp_path) == dict.fromkeys(("orin/A", "x86/A", "orin/B", "x86/B"), "done")
    for folder in states_of(tmp_path):
        assert all((tmp_path / "build/fleet/spring" / folder / name).is_file() for name in FILES)
    record = record_of(tmp_path)
    assert (record["complete"], record["scheduler"], record["run"]) == (True, None, "spring")
    assert times_measured(state) == 4

    second = fleet("run", matrix)
    assert (second.returncode, second.stderr.count("up to date")) == (0, 4)
    assert [job["outcome"] for job in record_of(tmp_path)["jobs"]] == [job["outcome"] for job in record["jobs"]]
    assert times_measured(state) == 4

    as_json = fleet("run", matrix, "--json")
    assert [job["folder"] for job in json.loads(as_json.stdout)["jobs"]] == list(states_of(tmp_path))


def test_again_replaces_the_earlier_result(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix, run = write_matrix(tmp_path, "A", KINDS[:1]), tmp_path / "build/fleet/spring"
    assert fleet("run", matrix).returncode == 0
    before = (run / "orin/A/bench/result.json").read_bytes()
    assert fleet("run", matrix, "--again").returncode == 0
    assert times_measured(state) == 2
    assert (run / "orin/A/bench/result.json").read_bytes() != before


def test_failed_job_is_exit_code_1_and_the_next_run_repeats_only_that_job(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_JOB", "crash B")
    matrix = write_matrix(tmp_path, devices=KINDS[:1])
    run = fleet("run", matrix)
    assert_three_parts(run, 1)
    assert "something terrible" in run.stderr
    assert states_of(tmp_path) == {"orin/A": "done", "orin/B": "failed"}
    monkeypatch.setenv("FAKE_JOB", "ok")
    resumed = fleet("run", matrix)
    assert resumed.returncode == 0, resumed.stderr
    assert states_of(tmp_path) == {"orin/A": "done", "orin/B": "done"}
    assert times_measured(state) == 3


def test_file_damaged_on_a_device_is_sent_again(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[:1])
    assert fleet("run", matrix).returncode == 0
    digest = jobs_of(tmp_path)["orin/A"]["spec"]["files"]["onnx/A-fp32.onnx"]
    blob = state / "blobs" / digest
    blob.unlink()
    blob.write_bytes(b"rotten")
    assert fleet("run", matrix, "--again").returncode == 0
    assert sha256_file(blob) == digest


def test_damaged_result_is_replaced(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[:1])
    assert fleet("run", matrix).returncode == 0
    path = tmp_path / "build/fleet/spring/orin/A/bench/result.json"
    before = path.read_bytes()
    path.unlink()
    path.write_text("edited")
    assert fleet("run", matrix).returncode == 0
    assert path.read_bytes() == before
    assert times_measured(state) == 1  # the device has it


def test_status_shows_states_and_reasons(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_JOB", "crash B")
    fleet("run", write_matrix(tmp_path, devices=KINDS[:1]))
    status = fleet("status", "build/fleet/spring")
    assert status.returncode == 0
    for part in ("spring: 2 jobs, 1 done, 1 failed", "orin/B", "something terrible"):
        assert part in status.stdout
    assert json.loads(fleet("status", "--json").stdout) == record_of(tmp_path)
    (tmp_path / "build/fleet/spring/fleet.json").write_text("{}")
    assert_three_parts(fleet("status"), 2)


def test_bad_input_is_exit_code_2_and_writes_no_run(fleet: Command, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    (tmp_path / "unknown.yaml").write_text("modles: [S]\n")
    for arguments in (
        ("run", "nowhere.yaml"),
        ("run", "unknown.yaml"),
        ("run", matrix, "--scheduler", "tcp://192.0.2.7:8786"),
        ("run", matrix, "--scheduler", "tls://127.0.0.1:8786", "--tls-ca", "no.pem"),
        ("status",),
        ("status", "."),
    ):
        assert_three_parts(fleet(*arguments), 2)
    assert not list(tmp_path.rglob("fleet.json"))
