"""Answers that none of ours gives: whatever a worker says, its job has failed with a reason, and the run goes on."""

import errno
import io
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.environment import environment_record, fingerprint
from bench.fleet import border, device
from bench.fleet.blobs import BlobCache
from bench.fleet.border import Refused, checked_facts
from bench.fleet.delivery import DeviceLost, Told, deliver
from bench.fleet.executor import OnWork
from bench.fleet.record import DeviceRecord, measured, read_finished, read_fleet
from bench.fleet.run import require_done, run_fleet
from bench.fleet.spec import JobResult, JobSpec, Outcome, code_version
from export.errors import BadInput, CheckFailed
from tests.fleet_plans import nothing, plan_of, spec_of
from tests.report_folder import Planted, write_folder

DIGEST = sha256(b"x").hexdigest()
NAMES = ("manifest.json", "bench/result.json", "bench/samples.npz")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The files of a result of the model A, as a device leaves them."""
    rows = (Planted("onnxruntime", "fp32", 8.0), Planted("openvino", "fp16", 6.0))
    host = {"cpu": "A processor", "usable_cores": 2, "machine": "x86_64", "governor": None}
    environment = {"host": host, "gpus": [], "software": {"python": "3.11.2", "libraries": {}}}
    more: dict[str, Any] = {"environment": environment, "fingerprint": fingerprint(environment), "extras": False}
    folder = write_folder(tmp_path_factory.mktemp("good"), rows, model="A", evaluated=False, rounds=8, **more)
    return {name: (folder / name).read_bytes() for name in NAMES}


class Answers:
    """A device that has everything, and answers with ``files`` and ``outcome``, or with what is put in their place."""

    worker = "orin-1"

    def __init__(self, files: Mapping[str, bytes], changes: Mapping[str, Any] | None = None, **instead: Any) -> None:
        self._files, self._changes, self._instead = files, changes or {}, instead

    def lacking(self, digests: list[str]) -> object:
        return self._instead.get("lacking", [])

    def store(self, digest: str, content: bytes) -> object:
        return True

    def run_job(self, spec: JobSpec, again: bool, told: Told) -> object:
        files = {name: sha256(content).hexdigest() for name, content in self._files.items()}
        outcome = Outcome(job=spec.id, state="done", code=code_version(), seconds=1.0)
        text = json.dumps(outcome.model_dump(mode="json") | {"files": files} | dict(self._changes))
        return self._instead.get("run_job", text)

    def fetch(self, digest: str) -> object:
        found = {sha256(content).hexdigest(): content for content in self._files.values()}
        return self._instead.get("fetch", found.get(digest, b""))


def delivered(link: Answers, sources: BlobCache) -> JobResult:
    return deliver(link, spec_of("A", sources), sources, False, lambda text: None)


def test_a_good_result_is_taken(good: Mapping[str, bytes], sources: BlobCache) -> None:
    result = delivered(Answers(good), sources)
    assert (result.outcome.state, result.outcome.worker) == ("done", "orin-1")
    assert {name: result.blobs[of] for name, of in result.outcome.files.items()} == good


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"lacking": None}, "answers with nothing"),
        ({"lacking": 5}, "answers with a int"),
        ({"lacking": ["/etc/passwd"]}, "it wants files that the job does not have"),
        ({"lacking": [["x"]]}, "it wants files that the job does not have"),
        ({"run_job": "[" * 200_000}, "no outcome (nested beyond reason)"),
        ({"run_job": "[]"}, "no outcome"),
        ({"run_job": None}, "it is nothing, and no text"),
        ({"run_job": 10**15}, "it is a int, and no text"),
        ({"run_job": "x" * (border.MOST_TEXT + 1)}, "characters"),
        ({"fetch": None}, "asked for manifest.json, and answers with nothing"),
        ({"fetch": 10**15}, "asked for manifest.json, and answers with a int"),
        ({"fetch": b"x"}, "manifest.json came back damaged 3 times"),
    ],
)
def test_an_answer_of_another_kind_fails_its_job(
    good: Mapping[str, bytes], sources: BlobCache, instead: dict[str, Any], said: str
) -> None:
    result = delivered(Answers(good, **instead), sources)
    assert (result.outcome.state, result.outcome.worker, result.blobs, result.ours) == ("failed", "orin-1", {}, False)
    assert said in result.outcome.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": {}}, "done, without bench/result.json and manifest.json"),
        ({"files": {"bench/result.json": DIGEST}}, "done, without manifest.json"),
        ({"files": {"a": DIGEST, "a/b": DIGEST}}, "no outcome (files.a"),
        ({"files": {"a\0b": DIGEST}}, "no outcome"),
        ({"files": {"a" * 300: DIGEST}}, "no outcome"),
        ({"files": {"manifest.json": "../" + DIGEST}}, "no outcome (files.manifest.json"),
        ({"state": "lost"}, "cannot say that its job is lost"),
        ({"seconds": 1e300}, "no outcome (seconds"),
        ({"seconds": -1}, "no outcome (seconds"),
        ({"state": "failed", "reason": "hot\x1b[2J\nhot"}, "hot [2J hot"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(
    good: Mapping[str, bytes], sources: BlobCache, changes: dict[str, Any], said: str
) -> None:
    result = delivered(Answers(good, changes), sources)
    assert (result.outcome.state, result.outcome.files, result.blobs) == ("failed", {}, {})
    assert said in result.outcome.reason


def edited(content: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()


def other_rows(content: bytes) -> bytes:
    rows = json.loads(content)["rows"]
    return edited(content, rows=[row | ({"artifact_sha256": DIGEST} if row["artifact"] else {}) for row in rows])


def pickled(_: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.array([{"an": "object"}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("manifest.json", lambda of: b"x", "manifest.json cannot be read"),
        ("manifest.json", lambda of: edited(of, model="B"), "manifest.json is not that of the job"),
        ("manifest.json", lambda of: edited(of, artifacts=[]), "manifest.json is not that of the job"),
        ("manifest.json", lambda of: edited(of, schema_version="9.0"), "manifest.json is of schema 9.0"),
        ("bench/result.json", lambda of: b"x", "bench/result.json cannot be read"),
        ("bench/result.json", lambda of: b"[" * 200_000, "bench/result.json cannot be read"),
        ("bench/result.json", lambda of: b"\xff", "bench/result.json cannot be read"),
        ("bench/result.json", lambda of: edited(of, schema_version="9.0"), "bench/result.json is of schema 9.0"),
        ("bench/result.json", lambda of: edited(of, model="B"), "is of B, and not of A"),
        ("bench/result.json", lambda of: edited(of, complete=False), "is not complete"),
        ("bench/result.json", other_rows, "measured on another onnx/A-fp32.onnx"),
        ("bench/result.json", lambda of: edited(of, environment={}), "does not say what it was measured on (host"),
        ("bench/result.json", lambda of: edited(of, fingerprint="another"), "is of another environment"),
        ("bench/samples.npz", lambda of: None, "without bench/samples.npz"),
        ("bench/samples.npz", lambda of: b"x", "samples.npz cannot be read"),
        ("bench/samples.npz", lambda of: of[:-40], "samples.npz cannot be read"),
        ("bench/samples.npz", pickled, "samples.npz cannot be read"),
    ],
)
def test_files_that_are_no_result_of_the_job_are_refused(
    good: Mapping[str, bytes], sources: BlobCache, name: str, spoil: Callable[[bytes], bytes | None], said: str
) -> None:
    content = spoil(good[name])
    files = {of: kept for of, kept in {**good, name: content}.items() if kept is not None}
    result = delivered(Answers(files), sources)
    assert (result.outcome.state, result.blobs) == ("failed", {})
    assert said in result.outcome.reason


@pytest.mark.parametrize(
    ("content", "said"), [(b"y" * 10_001, "at most 0.01 are taken"), (None, "unpacks to more than 0.01 MB")]
)
def test_what_is_larger_than_such_a_file_can_be_is_refused(
    good: Mapping[str, bytes], sources: BlobCache, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(100_000))
    files = {**good, "bench/samples.npz": content or file.getvalue()}
    monkeypatch.setitem(border.MOST_BYTES, "bench/samples.npz", 10_000)
    assert said in delivered(Answers(files), sources).outcome.reason


def test_what_nobody_has_foreseen_is_that_devices_failure_and_what_is_ours_is_not(
    good: Mapping[str, bytes], sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (KeyError("surprise"), MemoryError(), StopIteration()):

        class Broken(Answers):
            raised: Exception = fault

            def lacking(self, digests: list[str]) -> object:
                raise self.raised

        result = delivered(Broken(good), sources)
        assert (result.outcome.state, result.outcome.worker, result.ours) == ("failed", "orin-1", False)
        assert f"an error that was not foreseen: {type(fault).__name__}" in result.outcome.reason
        assert "test_fleet_border.py, line" in result.outcome.reason
    for ours in (DeviceLost("gone"), BadInput("cannot write", "full", "make room")):
        monkeypatch.setattr(Broken, "raised", ours)
        with pytest.raises(type(ours)):
            delivered(Broken(good), sources)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts["environment"].pop("host"),
        lambda facts: facts["environment"].update(gpus=[{}]),
        lambda facts: facts["environment"]["host"].update(cpu={}),
        lambda facts: facts["doctor"].pop("capabilities"),
        lambda facts: facts.update(surprise=1),
    ],
)
def test_what_says_of_itself_what_no_view_can_show_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[dict[str, Any]], object]
) -> None:
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path))
    text = device.hello([])
    assert checked_facts(text).environment["software"] == environment_record()["software"]
    facts = json.loads(text)
    spoil(facts)
    for answer in (json.dumps(facts), None, "[" * 200_000):
        with pytest.raises(Refused, match=r"^it answers in another form"):
            checked_facts(answer)
    with pytest.raises(Refused, match=r"^it has another version of this project, and answers in another form"):
        checked_facts(json.dumps(facts | {"code": "another"}))


class Scripted:
    """An executor whose jobs end as ``ends`` says; everything else is real."""

    def __init__(self, ends: Callable[[JobSpec], JobResult], at_once: int) -> None:
        self.run, self.at_once = ends, at_once

    def devices(self) -> list[DeviceRecord]:
        return []

    def reserve(self, spec: JobSpec, worker: str) -> None:
        pass

    def close(self) -> None:
        pass


def opened(files: Mapping[str, bytes], sources: BlobCache, at_once: int = 1, broken: str = "") -> Any:
    def ends(spec: JobSpec) -> JobResult:
        if spec.device == broken:
            raise KeyError("surprise")
        return deliver(Answers(files), spec, sources, False, lambda text: None)

    def open_executor(on_work: OnWork) -> Scripted:
        return Scripted(ends, at_once)

    return open_executor


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_fault_of_ours_ends_one_job_and_not_the_run(
    good: Mapping[str, bytes], sources: BlobCache, tmp_path: Path, at_once: int
) -> None:
    specs = [spec_of("A", sources, name) for name in ("bad", "orin")]
    record = run_fleet(plan_of(tmp_path / "run", specs, sources), opened(good, sources, at_once, "bad"), nothing)
    assert [job.state for job in record.jobs] == ["failed", "done"]
    with pytest.raises(CheckFailed, match=r"bad/A: a fault of this program: KeyError: 'surprise' \(test_fleet_border"):
        require_done(record)
    again = run_fleet(plan_of(tmp_path / "run", specs, sources), opened(good, sources, at_once), nothing)
    assert [job.state for job in again.jobs] == ["done", "done"]


@pytest.mark.parametrize("how", ["full", "in the way"])
def test_what_cannot_be_written_here_ends_the_run_and_keeps_what_was_done(
    good: Mapping[str, bytes], sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    specs, place = [spec_of("A", sources, name) for name in ("orin", "box")], tmp_path / "run"
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if place / "box" in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    if how == "full":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        place.mkdir()
        (place / "box").write_text("a file, and no folder")
    with pytest.raises(BadInput, match=r"cannot write .*run/box/A") as told:
        run_fleet(plan_of(place, specs, sources), opened(good, sources), nothing)
    assert told.value.seen == ("No space left on device" if how == "full" else "File exists")
    assert "convnextpose fleet resume" in told.value.do
    assert read_finished(place / "orin/A", specs[0].id) is not None
    assert [job.state for job in read_fleet(place).jobs] == ["done", "waiting"]
    assert not list(place.glob("box/*"))
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    (place / "box").unlink() if how == "in the way" else None
    record = run_fleet(plan_of(place, specs, sources), opened(good, sources, broken="orin"), nothing)
    assert [job.state for job in record.jobs] == ["done", "done"]


def test_a_record_that_cannot_be_written_says_how_to_go_on(
    good: Mapping[str, bytes], sources: BlobCache, tmp_path: Path
) -> None:
    (tmp_path / "run/fleet.json").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"cannot write .*fleet\.json") as told:
        run_fleet(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), opened(good, sources), nothing)
    assert "convnextpose fleet resume" in told.value.do


def test_a_result_that_was_damaged_here_names_the_way_to_bring_it_again(
    good: Mapping[str, bytes], sources: BlobCache, tmp_path: Path
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    record = run_fleet(plan, opened(good, sources), nothing)
    assert list(measured(plan.folder, record)) == ["orin/A"]
    (plan.folder / "orin/A/bench/result.json").write_text("x")
    with pytest.raises(BadInput) as told:
        measured(plan.folder, record)
    assert told.value.do.endswith(f"convnextpose fleet resume {plan.folder}")
