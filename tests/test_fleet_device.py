"""What a device does with a job, without a network: found, repeated, crashed, late, damaged, of other code."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.exported import read_export
from bench.fleet import child, device, engines
from bench.fleet.blobs import BlobCache
from bench.fleet.delivery import ATTEMPTS, Told, deliver
from bench.fleet.engines import with_engines
from bench.fleet.executor import LocalExecutor, OnWork, ThisMachine
from bench.fleet.job import accelerators, accelerators_held
from bench.fleet.locks import held, machine_folder
from bench.fleet.matrix import read_matrix
from bench.fleet.plan import plan_fleet, planned_before
from bench.fleet.record import JOB, read_finished, read_fleet
from bench.fleet.run import require_done, run_fleet
from bench.fleet.spec import JobResult, JobSpec, Outcome
from bench.gpu_runtimes import answering_gpu
from cli import render_fleet
from export.errors import BadInput, CheckFailed, NotPossible
from export.gpu import Gpu
from export.manifest import Manifest
from export.steps import Folder
from tests.command_line import ROOT
from tests.fleet_narrator import Steps
from tests.fleet_plans import SHARED, manifest, nothing, plan_of, spec_of
from tests.fleet_stand_in import BEGUN, COMMAND

REAL = child.COMMAND


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device's folder, and a machine's locks, of its own; what measures there is the stand-in."""
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / "device"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(child, "COMMAND", COMMAND)
    return tmp_path / "device"


def carried(link: ThisMachine, spec: JobSpec, sources: BlobCache, again: bool = False) -> JobResult:
    return deliver(link, spec, sources, again, lambda text: None)


def times_measured(state: Path) -> int:
    return len((state / BEGUN).read_text().splitlines()) if (state / BEGUN).is_file() else 0


def test_the_same_specification_is_found_and_not_measured_again(state: Path, sources: BlobCache) -> None:
    spec = spec_of("A", sources)
    first = carried(ThisMachine(), spec, sources)
    second = carried(ThisMachine(), spec, sources)
    assert (first.outcome.state, first.outcome.found, second.outcome.found) == ("done", False, True)
    assert (first.blobs, times_measured(state)) == (second.blobs, 1)
    forced = carried(ThisMachine(), spec, sources, again=True)
    assert not forced.outcome.found
    assert (forced.blobs == first.blobs, times_measured(state)) == (False, 2)
    assert carried(ThisMachine(), spec.model_copy(update={"deadline_s": 5.0}), sources).outcome.found
    other = spec.model_copy(update={"bench": spec.bench.model_copy(update={"seed": 1})})
    assert not carried(ThisMachine(), other, sources).outcome.found


def test_a_result_belongs_to_the_libraries_that_it_was_taken_with(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("A", sources)
    carried(ThisMachine(), spec, sources)
    monkeypatch.setattr(device, "fingerprint", lambda record: "another driver")
    assert not carried(ThisMachine(), spec, sources).outcome.found
    assert times_measured(state) == 2


def test_files_travel_once(state: Path, sources: BlobCache) -> None:
    sent = [carried(ThisMachine(), spec_of(name, sources), sources).outcome.bytes_sent for name in "AAB"]
    own = len(b"A" + manifest("A"))
    assert sent == [own + len(SHARED), 0, own]


def test_a_crash_is_a_failed_job_with_its_last_words(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "crash")
    outcome = carried(ThisMachine(), spec_of("A", sources), sources).outcome
    assert (outcome.state, outcome.reason) == ("failed", "it ended with SIGABRT (something terrible)")
    monkeypatch.setenv("STAND_IN", "ok")  # a failure is not kept
    assert carried(ThisMachine(), spec_of("A", sources), sources).outcome.state == "done"


def test_a_job_that_hangs_is_ended_at_its_deadline(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    outcome = carried(ThisMachine(), spec_of("A", sources, deadline_s=1), sources).outcome
    assert (outcome.state, outcome.reason) == ("failed", "it was not done within 1 s, and was ended")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("hang-first", "it did not begin within 0.5 s, and was ended"),
        ("wait", "it waited for the accelerator, which was not free within 0.8 s, and was ended"),
    ],
)
def test_a_job_that_never_begins_is_ended_and_says_why(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    monkeypatch.setenv("STAND_IN", how)
    monkeypatch.setattr(child, "START_S", 0.5)
    monkeypatch.setattr(child, "MOST_BEFORE", 0.8)
    heard = list[str]()
    outcome = deliver(ThisMachine(), spec_of("A", sources, deadline_s=1), sources, False, heard.append).outcome
    assert (outcome.state, outcome.reason) == ("failed", said)
    assert ("waiting for the accelerator" in heard) == (how == "wait")


@pytest.mark.parametrize("how", ["linger", "trip"])
def test_a_result_that_is_whole_is_kept_whatever_its_process_does_then(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("STAND_IN", how)
    monkeypatch.setattr(child, "END_S", 0.3)
    result = carried(ThisMachine(), spec_of("A", sources), sources)
    assert (result.outcome.state, result.outcome.reason) == ("done", "")
    assert set(result.outcome.files) == {"manifest.json", "bench/result.json"}
    assert set(result.outcome.files.values()) == set(result.blobs)


def test_a_failing_job_says_what_and_what_to_do(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process, with an export that lacks its files."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    outcome = carried(ThisMachine(), spec_of("A", sources), sources).outcome
    assert outcome.state == "failed"
    assert "onnx/A-fp32.onnx is not what the manifest says of it — it is gone" in outcome.reason
    assert "Traceback" not in outcome.reason


@pytest.mark.parametrize(("damaged", "state_then"), [(1, "done"), (ATTEMPTS, "failed")])
def test_what_arrives_damaged_is_sent_again(state: Path, sources: BlobCache, damaged: int, state_then: str) -> None:
    class Noisy(ThisMachine):
        left = damaged

        def store(self, digest: str, content: bytes) -> bool:
            self.left -= 1
            return super().store(digest, content if self.left < 0 else content + b"?")

    outcome = carried(Noisy(), spec_of("A", sources), sources).outcome
    assert outcome.state == state_then
    if state_then == "failed":
        assert f"arrived damaged {ATTEMPTS} times" in outcome.reason
        assert times_measured(state) == 0


@pytest.mark.parametrize(("damaged", "state_then"), [(1, "done"), (ATTEMPTS, "failed")])
def test_what_comes_back_damaged_is_fetched_again(
    state: Path, sources: BlobCache, damaged: int, state_then: str
) -> None:
    class Noisy(ThisMachine):
        left = damaged

        def fetch(self, digest: str) -> bytes:
            self.left -= 1
            return super().fetch(digest) if self.left < 0 else b"?"

    outcome = carried(Noisy(), spec_of("A", sources), sources).outcome
    assert outcome.state == state_then
    assert carried(ThisMachine(), spec_of("A", sources), sources).outcome.found  # nothing is lost


def test_a_file_that_rots_on_the_device_is_sent_again(state: Path, sources: BlobCache) -> None:
    spec = spec_of("A", sources)
    carried(ThisMachine(), spec, sources)
    (state / "blobs" / spec.files["model.onnx"]).write_bytes(b"rotten")
    again = carried(ThisMachine(), spec, sources, again=True).outcome
    assert (again.state, again.bytes_sent) == ("done", 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"B"), "model.onnx was changed here since the run was planned"),
        (lambda path: path.unlink(), "model.onnx can no longer be read here"),
    ],
)
def test_a_file_that_changed_or_went_at_home_is_our_fault(
    state: Path, sources: BlobCache, spoil: Callable[[Path], object], said: str
) -> None:
    spec = spec_of("A", sources)
    spoil(sources.path(spec.files["model.onnx"]))
    result = carried(ThisMachine(), spec, sources)
    assert (result.outcome.state, result.ours, times_measured(state)) == ("failed", True, 0)
    assert said in result.outcome.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code": "another"}, "another version of this project"),
        ({"job": "another"}, "of another job"),
        ({"schema_version": "9.0"}, "schema_version 9.0"),
        ({"surprise": 1}, "no outcome"),
        ({"files": {"../../elsewhere": "0"}}, "no outcome"),
        ({"files": {"/etc/passwd": "0"}}, "no outcome"),
    ],
)
def test_a_result_that_is_not_what_was_asked_for_is_refused(
    state: Path, sources: BlobCache, changes: dict[str, object], said: str
) -> None:
    class Other(ThisMachine):
        def run_job(self, spec: JobSpec, again: bool, told: Told) -> str:
            return json.dumps(json.loads(super().run_job(spec, again, told)) | changes)

    result = carried(Other(), spec_of("A", sources), sources)
    assert (result.outcome.state, result.blobs) == ("failed", {})
    assert said in result.outcome.reason


def test_a_device_refuses_a_job_of_other_code(state: Path, sources: BlobCache) -> None:
    outcome = Outcome.model_validate_json(device.run_job(spec_of("A", sources, code="other").model_dump_json(), False))
    assert (outcome.state, times_measured(state)) == ("failed", 0)
    assert "another version" in outcome.reason


def test_one_accelerator_is_measured_by_one_job_at_a_time(tmp_path: Path, sources: BlobCache) -> None:
    spec, said = spec_of("A", sources), list[dict[str, object]]()
    assert accelerators(spec) == ["cpu"]
    code = (
        "import sys, time; from pathlib import Path; from bench.fleet.locks import held\n"
        "with held(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(0.5)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cpu.lock")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with accelerators_held(tmp_path, spec, lambda **what: said.append(what)):
            assert other.wait() == 0  # it had let go
    assert said == [{"waits": True, "text": "waiting for the accelerator: another job is measured on cpu"}]


def test_workers_with_state_folders_of_their_own_share_the_machines_locks(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process waits for whoever measures on this machine, wherever that keeps its results."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    spec, heard = spec_of("A", sources, deadline_s=1), list[str]()
    monkeypatch.setattr(child, "MOST_BEFORE", 0.5)
    for name in ("one", "two"):
        monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / name))
        with held(machine_folder() / "cpu.lock", lambda: None):
            outcome = deliver(ThisMachine(), spec, sources, False, heard.append).outcome
        assert outcome.reason.startswith("it waited for the accelerator, which was not free within 0.5 s")
    assert heard.count("waiting for the accelerator: another job is measured on cpu") == 2


def test_a_folder_of_locks_that_is_another_users_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no numbers of users")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(NotPossible, match="convnextpose-4711"):
        machine_folder()


def open_local(plan_specs: list[JobSpec], sources: BlobCache, again: bool = False) -> Callable[[OnWork], LocalExecutor]:
    return lambda on_work: LocalExecutor(plan_specs, sources, on_work, again=again)


def test_a_run_here_fills_its_folder_and_a_second_one_does_nothing(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    specs = [spec_of(model, sources, kind, kind) for model in "AB" for kind in ("orin", "x86")]
    plan = plan_of(tmp_path / "run", specs, sources)
    record = run_fleet(plan, open_local(specs, sources), nothing)
    require_done(record)
    assert record == read_fleet(plan.folder)
    assert [job.folder for job in record.jobs] == ["orin/A", "x86/A", "orin/B", "x86/B"]
    for job in record.jobs:
        assert read_finished(plan.folder / job.folder, job.spec.id) == job.outcome
        assert {"manifest.json", JOB} <= {path.name for path in (plan.folder / job.folder).iterdir()}
    assert times_measured(state) == 4
    again = run_fleet(plan, open_local(specs, sources), nothing)
    assert (times_measured(state), [job.outcome for job in again.jobs]) == (4, [job.outcome for job in record.jobs])
    run_fleet(plan, open_local(specs, sources, again=True), nothing, again=True)
    assert times_measured(state) == 8


def test_a_damaged_result_is_brought_again_and_not_measured(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of(model, sources) for model in "AB"]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing)
    (tmp_path / "run/orin/A/bench/result.json").write_text("edited")
    after = run_fleet(plan, open_local(specs, sources), nothing)
    assert [job.outcome and job.outcome.found for job in after.jobs] == [True, False]
    assert [j.outcome and j.outcome.files for j in after.jobs] == [j.outcome and j.outcome.files for j in before.jobs]
    assert times_measured(state) == 2


def test_what_was_taken_with_other_libraries_is_measured_again(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    run_fleet(plan, open_local(specs, sources), nothing)
    monkeypatch.setattr(device, "fingerprint", lambda record: "another driver")
    run_fleet(plan, open_local(specs, sources), nothing)
    assert times_measured(state) == 2


def test_one_failure_leaves_the_rest_and_is_told_at_the_end(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of("A", sources, code="other"), spec_of("B", sources)]
    record = run_fleet(plan_of(tmp_path / "run", specs, sources), open_local(specs, sources), nothing)
    assert [job.state for job in record.jobs] == ["failed", "done"]
    with pytest.raises(CheckFailed, match="1 of 2 jobs failed"):
        require_done(record)


def test_a_run_is_either_local_or_a_schedulers_and_one_at_a_time(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    run_fleet(plan, open_local(specs, sources), nothing)
    with pytest.raises(BadInput, match="either local or a scheduler's"):
        run_fleet(plan, open_local(specs, sources), nothing, scheduler="tcp://127.0.0.1:1")

    def open_second(on_work: OnWork) -> LocalExecutor:
        with pytest.raises(BadInput, match="is in use"):
            run_fleet(plan, open_local(specs, sources), nothing)
        return LocalExecutor(specs, sources, on_work)

    run_fleet(plan, open_second, nothing)


def test_what_an_earlier_matrix_has_measured_is_kept_apart_and_comes_back_with_it(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    old = [spec_of(model, sources) for model in "AB"]
    new = [spec_of("A", sources, precisions=("fp16",))]
    run_fleet(plan_of(tmp_path / "run", old, sources), open_local(old, sources), nothing)
    before = {path.name: (path / "bench/result.json").read_text() for path in (tmp_path / "run/orin").iterdir()}

    record = run_fleet(plan_of(tmp_path / "run", new, sources), open_local(new, sources), nothing)
    assert [(job.spec.id, job.state) for job in record.jobs] == [(new[0].id, "done")]
    kept = {job.spec.model: job.folder for job in record.earlier}
    assert kept == {"A": f"earlier/{old[0].id[:16]}/orin/A", "B": "orin/B"}
    assert {
        name: (tmp_path / "run" / place / "bench/result.json").read_text() for name, place in kept.items()
    } == before
    assert read_fleet(tmp_path / "run") == record

    again = run_fleet(plan_of(tmp_path / "run", old, sources), open_local(old, sources), nothing)
    assert [job.folder for job in again.jobs] == ["orin/A", "orin/B"]
    assert {
        job.spec.model: (tmp_path / "run" / job.folder / "bench/result.json").read_text() for job in again.jobs
    } == before
    assert [job.folder for job in again.earlier] == [f"earlier/{new[0].id[:16]}/orin/A"]
    assert times_measured(state) == 3  # nothing was measured twice, not even looked for on the device
    assert not any(job.outcome and job.outcome.found for job in again.jobs)


def test_status_names_what_is_kept_and_does_not_count_it(
    state: Path, sources: BlobCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in "AB":
        specs = [spec_of(model, sources)]
        record = run_fleet(plan_of(tmp_path / "run", specs, sources), open_local(specs, sources), nothing)
    render_fleet.status(record, going_on=False)
    said = capsys.readouterr().out
    assert "run: 1 jobs, 1 done" in said
    assert "orin/A in orin/A" in said


def test_a_run_is_resumed_without_its_matrix(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of(model, sources) for model in "AB"]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing)
    resumed = planned_before(plan.folder, read_fleet(plan.folder))
    assert (resumed.run, resumed.specs, resumed.matrix) == (plan.run, plan.specs, plan.matrix)
    (tmp_path / "run/orin/A/job.json").unlink()
    after = run_fleet(resumed, open_local(list(resumed.specs), resumed.sources), nothing)
    assert [job.state for job in after.jobs] == ["done", "done"]
    assert (times_measured(state), after.created) == (2, before.created)
    with pytest.raises(BadInput, match="another version of this project"):
        planned_before(plan.folder, before.model_copy(update={"code": "other"}))
    sources.path(specs[0].files["model.onnx"]).unlink()
    with pytest.raises(BadInput, match="no longer there"):
        planned_before(plan.folder, before)


def test_what_is_missing_is_exported_once_and_engines_do_not_travel(place: Path) -> None:
    """The tiny network, by its configuration; a TensorRT-RTX engine is built here and stays here."""
    matrix = {"models": ["./tiny.yaml"], "devices": [{"name": "orin", "resource": "jetson_orin"}]}
    (place / "matrix.yaml").write_text(json.dumps(matrix))  # JSON is YAML
    first, second = Steps(), Steps()
    plan = plan_fleet(read_matrix(place / "matrix.yaml"), first)
    assert plan_fleet(read_matrix(place / "matrix.yaml"), second) == plan
    assert {"weights", "truth", "onnx-fp32", "parity-fp32"} <= set(first.begun)
    assert [step for step in second.begun if not step.startswith("engine")] == []
    (spec,) = plan.specs
    names = {"manifest.json", "onnx/tiny-fp32.onnx", "parity/truth.npz", "weights/weights.safetensors"}
    assert (spec.model, set(spec.files), plan.sources.lacking(spec.files.values())) == ("tiny", names, [])
    travelled = Manifest.model_validate_json(plan.sources.path(spec.files["manifest.json"]).read_bytes())
    assert [artifact.kind for artifact in travelled.artifacts] == ["onnx"]


def test_two_models_of_one_name_and_a_folder_that_is_not_whole_are_refused(demo_export: Path, tmp_path: Path) -> None:
    matrix = {"models": [str(demo_export)] * 2, "devices": [{"name": "orin", "resource": "jetson_orin"}]}
    (tmp_path / "matrix.yaml").write_text(json.dumps(matrix))
    with pytest.raises(BadInput, match="two models have one name"):
        plan_fleet(read_matrix(tmp_path / "matrix.yaml"), Steps())
    for precision, said in (("fp16", "holds no fp16"), ("fp32", "is not whole")):
        shutil.copytree(demo_export, tmp_path / precision, ignore=shutil.ignore_patterns("truth.npz"))
        more = {"models": [f"./{precision}"], "precisions": [precision]}
        (tmp_path / "matrix.yaml").write_text(json.dumps(matrix | more))
        with pytest.raises(BadInput, match=said):
            plan_fleet(read_matrix(tmp_path / "matrix.yaml"), Steps())


def test_the_job_dies_with_whoever_holds_it(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    """The real process: a worker that is killed leaves nothing behind that would disturb the next job."""
    if sys.platform != "linux":
        pytest.skip("only Linux ends a process with its parent")
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / child.SPEC).write_text(spec_of("A", sources).model_dump_json())
    holder = (
        "import os, subprocess, sys, time\n"
        f"job = subprocess.Popen([sys.executable, '-m', 'bench.fleet.job', {str(state)!r}, {str(folder)!r}, "
        "str(os.getpid())], stdout=subprocess.DEVNULL)\n"
        "print(job.pid, flush=True); time.sleep(600)"
    )

    with held(machine_folder() / "cpu.lock", lambda: None):  # it waits for us
        with subprocess.Popen([sys.executable, "-c", holder], cwd=ROOT, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            job = int(parent.stdout.readline())
            time.sleep(0.5)
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{job}").exists() and "Z" not in Path(f"/proc/{job}/stat").read_text().split(")")[1][:3]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_engines_are_built_on_the_device_and_once(
    demo_export: Path, tmp_path: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real builder, for a GPU of which only the name is known here."""
    pytest.importorskip("tensorrt_rtx")

    monkeypatch.setattr(engines, "answering_gpu", lambda: (Gpu("a GPU", "8.9", 8 << 30, 16), ""))
    steps = Steps()
    exported = read_export(demo_export)
    only = [artifact for artifact in exported.manifest.artifacts if artifact.kind == "onnx"]
    travelled = exported.manifest.model_copy(update={"artifacts": only})
    place = Folder(tmp_path / "place", steps)
    for artifact in only:
        (place.path / artifact.path).parent.mkdir(parents=True)
        os.link(demo_export / artifact.path, place.path / artifact.path)
    spec = spec_of("A", sources, runtimes=("tensorrt-rtx",))
    for _ in range(2):
        found, said = with_engines(place, type(exported)(place.path, travelled), spec)
    assert (steps.begun, steps.up_to_date_) == (["engine-fp32"], ["engine-fp32"])
    (engine,) = [artifact for artifact in found.manifest.artifacts if artifact.kind == "engine"]
    assert (engine.runtime, engine.targets, engine.precision) == ("tensorrt_rtx", ["8.9"], "fp32")
    assert said[0].startswith("fp32: built for SM 8.9; not run")
    none, why = with_engines(place, type(exported)(place.path, travelled), spec_of("A", sources))
    assert (none.manifest, why) == (travelled, [])


def test_a_device_without_a_gpu_builds_nothing_and_says_why(
    demo_export: Path, tmp_path: Path, sources: BlobCache
) -> None:

    if answering_gpu()[0] is not None:
        pytest.skip("there is a GPU here")
    exported = read_export(demo_export)
    spec = spec_of("A", sources, runtimes=("tensorrt", "tensorrt-rtx"))
    found, said = with_engines(Folder(tmp_path, Steps()), exported, spec)
    assert (found, said) == (exported, [f"none built: {answering_gpu()[1]}"])


def test_whoever_listens_hears_what_a_job_does(state: Path, sources: BlobCache) -> None:
    heard = list[str]()
    executor = LocalExecutor([spec_of("A", sources)], sources, lambda spec, worker, text: heard.append(text))
    executor.run(spec_of("A", sources))
    assert heard[0] == ""
    assert {"preparing", "bringing the result back"} <= set(heard)
