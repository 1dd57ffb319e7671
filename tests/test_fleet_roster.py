"""Which device is given a job, and which none any more: without a network."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.fleet.blame import BENCH_AFTER
from bench.fleet.blobs import BlobCache
from bench.fleet.pulse import Pulse
from bench.fleet.roster import Known, NoDevice, Roster
from bench.fleet.spec import DeviceFacts, JobSpec, code_version
from tests.fleet_plans import ORIN, X86, spec_of


def facts_of(worker: str, resource: str = ORIN, **changes: object) -> DeviceFacts:
    plain = {"worker": worker, "machine": "m", "resources": {resource: 1.0}, "code": code_version()}
    return DeviceFacts.model_validate({**plain, "environment": {}, "fingerprint": "f", "doctor": {}, **changes})


@pytest.fixture
def roster() -> Roster:
    """Two Orins and an x86 box; nobody waits for more."""
    made = Roster({"orin": ORIN, "x86": X86}, wait_s=0)
    for worker, resource in (("orin-1", ORIN), ("orin-2", ORIN), ("box", X86)):
        made.seen(f"tcp://{worker}", facts_of(worker, resource))
    return made


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    return spec_of("A", BlobCache(tmp_path / "blobs"))


Model = Callable[[str], JobSpec]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A job for a model of this name."""
    sources = BlobCache(tmp_path / "blobs")
    return lambda name: spec_of(name, sources)


def test_a_resource_that_nobody_has_is_named_beside_those_that_there_are(roster: Roster, job: JobSpec) -> None:
    with pytest.raises(NoDevice) as nobody:
        roster.take(job.model_copy(update={"resource": "jetson_orni"}))
    assert "no worker has the resource jetson_orni (box has x86_box; orin-1 has jetson_orin; " in str(nobody.value)


def test_a_job_goes_to_a_free_device_of_its_kind(roster: Roster, job: JobSpec) -> None:
    assert [roster.take(job)[0], roster.take(job)[0]] == ["orin-1", "orin-2"]
    roster.give_back("orin-1")
    assert roster.take(job) == ("orin-1", "tcp://orin-1")


def test_a_busy_device_is_waited_for(roster: Roster, job: JobSpec) -> None:
    roster.only(["tcp://orin-1"])
    roster.take(job)
    threading.Timer(0.1, roster.give_back, ("orin-1",)).start()
    assert roster.take(job)[0] == "orin-1"


def test_replicas_never_share_a_device(roster: Roster, job: JobSpec) -> None:
    second, third = (job.model_copy(update={"replica": n}) for n in (2, 3))
    assert [roster.take(job)[0], roster.take(second)[0]] == ["orin-1", "orin-2"]
    roster.give_back("orin-1")
    with pytest.raises(NoDevice, match="another replica"):
        roster.take(third)


def test_replicas_that_were_done_earlier_count(roster: Roster, job: JobSpec) -> None:
    roster.did(job, "orin-1")
    assert roster.take(job.model_copy(update={"replica": 2}))[0] == "orin-2"


def fail(roster: Roster, spec: JobSpec, worker: str, reason: str = "out of memory") -> None:
    roster.failed(spec, worker, reason)


def state_of(roster: Roster, worker: str) -> str:
    return {record.worker: record.state for record in roster.records()}[worker]


def test_a_device_that_fails_every_job_is_benched_and_named(roster: Roster, model: Model) -> None:
    roster.only(["tcp://orin-1"])
    for name in "ABC"[:BENCH_AFTER]:
        fail(roster, model(name), "orin-1")
    with pytest.raises(NoDevice, match="orin-1: it failed 3 jobs in a row; the last: out of memory"):
        roster.take(model("D"))
    assert state_of(roster, "orin-1") == "benched"


def test_a_device_that_does_some_jobs_is_not_benched(roster: Roster, model: Model) -> None:
    for name, done in zip("ABCDEF", (False, False, True, False, False, True), strict=True):
        roster.did(model(name), "orin-1") if done else fail(roster, model(name), "orin-1")
    assert state_of(roster, "orin-1") == "ready"


def test_models_that_fail_everywhere_bench_nobody(roster: Roster, model: Model) -> None:
    for name in "ABCDE":
        for worker in ("orin-1", "orin-2"):
            fail(roster, model(name), worker)
    assert (state_of(roster, "orin-1"), state_of(roster, "orin-2")) == ("ready", "ready")
    fail(roster, model("F"), "orin-1")  # nobody else has tried these two
    fail(roster, model("G"), "orin-1")
    assert state_of(roster, "orin-1") == "ready"
    roster.did(model("A"), "orin-2")  # so it was the device
    assert state_of(roster, "orin-1") == "benched"


def test_whoever_fails_first_is_cleared_when_the_others_fail_too(roster: Roster, model: Model) -> None:
    for worker, state in (("orin-1", "benched"), ("orin-2", "ready")):
        for name in "ABC":
            fail(roster, model(name), worker)
        assert state_of(roster, worker) == state
    assert state_of(roster, "orin-1") == "ready"


def test_one_model_that_is_measured_often_is_one(roster: Roster, model: Model) -> None:
    roster.only(["tcp://orin-1"])
    for replica in (1, 2, 3):
        fail(roster, model("A").model_copy(update={"replica": replica}), "orin-1")
    assert state_of(roster, "orin-1") == "ready"


def test_a_worker_that_is_started_again_gets_another_chance(roster: Roster, model: Model) -> None:
    for name in "ABC":
        fail(roster, model(name), "orin-1")
    assert state_of(roster, "orin-1") == "benched"
    roster.seen("tcp://elsewhere", facts_of("orin-1"))
    assert state_of(roster, "orin-1") == "ready"


def test_a_silent_device_is_given_nothing_until_it_answers(roster: Roster, job: JobSpec) -> None:
    assert roster.only(["tcp://orin-1"]) == set()
    roster.silent("tcp://orin-1", Known("orin-1", {ORIN: 1.0}), "it did not answer within 30 s")
    assert (state_of(roster, "orin-1"), roster.trouble("tcp://orin-1")) == ("silent", "it did not answer within 30 s")
    with pytest.raises(NoDevice, match="orin-1: it did not answer within 30 s"):
        roster.take(job)
    assert roster.only(["tcp://orin-1"]) == {"tcp://orin-1"}  # it is asked again
    roster.seen("tcp://orin-1", facts_of("orin-1"))
    assert roster.take(job)[0] == "orin-1"


def test_a_device_that_never_answered_is_listed_with_its_reason(roster: Roster) -> None:
    roster.only(["tcp://orin-3"])
    roster.silent("tcp://orin-3", Known("orin-3", {ORIN: 1.0}), "it did not answer within 30 s")
    record = next(record for record in roster.records() if record.worker == "orin-3")
    assert (record.state, record.reason, record.kinds) == ("silent", "it did not answer within 30 s", ["orin"])


def test_what_is_heard_late_of_an_earlier_worker_does_not_touch_the_new_one(roster: Roster) -> None:
    roster.only(["tcp://new"])
    roster.seen("tcp://new", facts_of("orin-1"))
    roster.silent("tcp://orin-1", Known("orin-1", {ORIN: 1.0}), "late")
    roster.unanswered("tcp://orin-1", "late")
    assert (state_of(roster, "orin-1"), roster.trouble("tcp://new")) == ("ready", "")


def test_a_worker_without_a_heartbeat_is_silent_until_there_is_one() -> None:
    now = [0.0]
    pulse = Pulse(60.0, lambda: now[0])
    ages = {"a": 1000.0, "b": 7.0}  # the scheduler's clock is its own
    assert pulse.silent(ages) == {}
    now[0] = 59.0
    assert pulse.silent(ages | {"b": 8.0}) == {}
    now[0] = 60.0
    assert pulse.silent(ages | {"b": 8.0}) == {"a": "the scheduler has not heard of it for 60 s"}
    assert pulse.silent({"a": 1001.0, "b": 8.0}) == {}
    now[0] = 130.0
    assert pulse.silent({"b": 9.0}) == {}  # one that is gone is not silent


def test_a_device_with_another_version_of_the_code_gets_nothing(roster: Roster, job: JobSpec) -> None:
    for worker in ("orin-1", "orin-2"):
        roster.seen(f"tcp://{worker}", facts_of(worker, code="another"))
    with pytest.raises(NoDevice, match="another version of this project"):
        roster.take(job)


def test_whoever_has_the_result_is_asked_for_it(roster: Roster, job: JobSpec) -> None:
    roster.seen("tcp://orin-2", facts_of("orin-2", holding=(job.id,)))
    assert roster.take(job)[0] == "orin-2"


def test_a_worker_that_comes_back_is_the_same_device(roster: Roster, job: JobSpec) -> None:
    assert roster.only(["tcp://orin-1", "tcp://new"]) == {"tcp://new"}
    roster.seen("tcp://new", facts_of("orin-2"))
    taken = {roster.take(job) for _ in range(2)}
    assert taken == {("orin-1", "tcp://orin-1"), ("orin-2", "tcp://new")}


def test_a_worker_that_is_none_of_ours_is_named_and_not_asked_again(roster: Roster, job: JobSpec) -> None:
    assert roster.only(["tcp://other"]) == {"tcp://other"}
    roster.strange("tcp://other", Known("orin-3", {ORIN: 1.0}), "hello failed on the device: ModuleNotFoundError")
    assert roster.only(["tcp://other"]) == set()
    with pytest.raises(NoDevice, match="orin-3: hello failed on the device: ModuleNotFoundError"):
        roster.take(job)
