"""What is read, refused and decided before, and beside, anything that is sent to a device."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from bench.fleet.address import require_safe
from bench.fleet.blobs import BlobCache
from bench.fleet.exports import Travelling
from bench.fleet.matrix import read_matrix
from bench.fleet.plan import expand
from bench.fleet.record import DeviceRecord, FleetRecord, JobRecord, estimated_end, read_fleet
from bench.fleet.spec import JobSpec, Outcome, code_version
from cli import render_fleet
from export.errors import BadInput
from tests.command_line import assert_three_parts, convnextpose
from tests.fleet_cluster import DOCS, tuned
from tests.fleet_plans import ORIN, X86, spec_of

SMALL = {"models": ["S"], "devices": [{"name": "orin", "resource": ORIN}]}


def matrix_file(folder: Path, **changes: object) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return path


def test_a_matrix_is_models_times_devices_with_all_that_is_compared_in_one_job(tmp_path: Path) -> None:
    devices = [{"name": "orin", "resource": ORIN, "count": 2}, {"name": "x86", "resource": X86}]
    bench = {"budget_s": 5, "throughput": True}
    read = read_matrix(
        matrix_file(tmp_path, models=["S", {"model": "L", "name": "large"}], devices=devices, bench=bench)
    )
    assert (read.name, read.out, [entry.model for entry in read.models]) == ("matrix", tmp_path / "build", ["S", "L"])
    specs = list(expand(read, [Travelling("S", {"a": "1"}), Travelling("large", {"a": "2"})]))
    assert [spec.name for spec in specs] == ["orin/S", "orin-2/S", "x86/S", "orin/large", "orin-2/large", "x86/large"]
    assert {(spec.bench.budget_s, spec.bench.throughput, spec.code) for spec in specs} == {(5, True, code_version())}
    assert len({spec.id for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modles": ["S"]}, "did you mean models"),
        ({"bench": {"buget_s": 3}}, "bench.buget_s: there is no such key; did you mean budget_s"),
        ({"devices": [{"name": "orin", "resource": ORIN, "gpu": 1}]}, "allowed are name, resource, count"),
        ({"devices": [{"name": "a", "resource": ORIN}] * 2}, "names of their own"),
        ({"devices": [{"name": "a", "resource": "r", "count": 2}, {"name": "a-2", "resource": "r"}]}, "of their own"),
        ({"devices": [{"name": "../a", "resource": ORIN}]}, "devices.0.name"),
        ({"devices": []}, "devices"),
        ({"models": []}, "models"),
        ({"precisions": ["fp8"]}, "unknown: fp8"),
        ({"runtimes": ["abacus"]}, "unknown: abacus"),
        ({"runtimes": ["openvino", "openvino"]}, "each once"),
        ({"deadline_s": float("nan")}, "deadline_s"),
        ({"name": "exports"}, "cannot have this name"),
    ],
)
def test_what_a_matrix_does_not_mean_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_matrix(matrix_file(tmp_path, **changes))
    assert said in str(refused.value)


def test_mistakes_end_in_three_parts_and_with_nothing_written(tmp_path: Path) -> None:
    path = matrix_file(tmp_path)
    (tmp_path / "twice.yaml").write_text("models: [S]\nmodels: [L]\n")
    for arguments in (
        ("run", tmp_path / "nowhere.yaml"),
        ("run", tmp_path / "twice.yaml"),
        ("run", path, "--scheduler", "tcp://192.0.2.7:8786"),
        ("run", path, "--scheduler", "tls://127.0.0.1:8786", "--tls-ca", tmp_path / "no.pem"),
        ("run", matrix_file(tmp_path / "..", models=["no-such-model"])),
        ("status", tmp_path),
        ("resume", tmp_path),
        ("status",),
    ):
        assert_three_parts(convnextpose("fleet", *arguments, cwd=tmp_path), 2)
    assert not list(tmp_path.rglob("fleet.json"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_a_plain_connection_stays_on_this_machine(host: str) -> None:
    assert require_safe(f"tcp://{host}:8786", insecure=False) == f"tcp://{host}:8786"
    assert require_safe(f"{host}:8786", insecure=False) == f"tcp://{host}:8786"


@pytest.mark.parametrize("address", ["tcp://192.0.2.7:8786", "192.0.2.7:8786", "ws://lab:80", "tcp://localhost.lab:1"])
def test_a_plain_connection_to_another_machine_is_refused_unless_insecure(address: str) -> None:
    with pytest.raises(BadInput, match="plain connection"):
        require_safe(address, insecure=False)
    assert require_safe(address, insecure=True).endswith(address)
    assert require_safe("tls://192.0.2.7:8786", insecure=False) == "tls://192.0.2.7:8786"


@pytest.mark.parametrize("address", ["tcp://", "lab", "ftp://lab:1", "tcp://lab:port", "inproc://1/2", "tcp://:8786"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="no scheduler's address"):
        require_safe(address, insecure=True)


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    return spec_of("A", BlobCache(tmp_path / "blobs"))


def test_what_the_documentation_shows_is_read(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    (tmp_path / "matrix.yaml").write_text(text.split("```yaml\n# matrix.yaml", 1)[1].split("```", 1)[0])
    read = read_matrix(tmp_path / "matrix.yaml")
    assert (read.name, len(read.models), [kind.count for kind in read.devices]) == ("spring", 3, [2, 1])
    assert read.models[1].checkpoint == tmp_path / "weights/mine.pth"
    assert read.models[2].model == str(tmp_path / "build/XS-atto")


def test_the_documented_tuning_is_of_keys_that_dask_knows() -> None:
    distributed = pytest.importorskip("distributed")
    defaults = yaml.safe_load((Path(distributed.__file__).parent / "distributed.yaml").read_text(encoding="utf-8"))

    def known(given: object, there: object) -> None:
        if isinstance(given, dict) and isinstance(there, dict):
            assert given.keys() <= there.keys()
            for key in given:
                known(given[key], there[key])

    known(tuned(), defaults)


def record_of(jobs: list[JobRecord]) -> FleetRecord:
    device = DeviceRecord(worker="orin-1", kinds=["orin"], state="ready", machine="m", environment={}, fingerprint="f")
    about = {"run": "r", "created": "", "updated": "", "scheduler": "tcp://x", "complete": False, "code": "c"}
    return FleetRecord.model_validate({**about, "matrix": {}, "jobs": jobs, "devices": [device]})


def test_the_end_is_estimated_from_jobs_of_the_same_kind(job: JobSpec) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    done = Outcome(job=job.id, state="done", seconds=100)
    waiting = JobRecord(spec=job, folder="a", state="waiting")
    running = JobRecord(spec=job, folder="b", state="running", since=(now - timedelta(seconds=30)).isoformat())
    ended = JobRecord(spec=job, folder="c", state="done", outcome=done)
    assert estimated_end(record_of([ended, running, waiting]), now) == now + timedelta(seconds=170)
    assert estimated_end(record_of([running, waiting]), now) is None
    found = ended.model_copy(update={"outcome": done.model_copy(update={"found": True})})
    assert estimated_end(record_of([found, waiting]), now) is None


def test_a_run_that_nobody_works_at_says_so_and_what_it_lacks(job: JobSpec, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Outcome(job=job.id, state="lost", reason="no device could do it: [nobody]")
    jobs = [
        JobRecord(spec=job, folder="a", state="lost", outcome=lost),
        JobRecord(spec=job, folder="b", state="running", worker="orin-1", said="loading", since="2026-01-01T00:00:00Z"),
    ]
    render_fleet.status(record_of(jobs), going_on=False)
    said = capsys.readouterr().out
    for part in (
        "2 jobs, 1 lost, 1 running",
        "orin/A: loading",
        "no device could do it: [nobody]",
        "nobody works at it",
    ):
        assert part in said


def test_a_log_has_a_line_for_each_change_of_a_device(job: JobSpec, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_of([JobRecord(spec=job, folder="a", state="waiting")])
    (device,) = record.devices
    late = device.model_copy(update={"state": "silent", "reason": "it did not answer within 30 s"})
    with render_fleet.live(None) as show:
        for devices in ([], [device], [device], [late]):
            show(record.model_copy(update={"devices": devices}))
    said = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert said[0].startswith("waiting no device is connected yet")
    assert said[1:] == ["ready device orin-1: orin", "silent device orin-1: it did not answer within 30 s"]


@pytest.mark.parametrize("content", ['{"schema_version": "9.0"}', "{}", "[" * 100_000])
def test_a_record_of_another_schema_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "fleet.json").write_text(content)
    assert_three_parts(convnextpose("fleet", "status", tmp_path, cwd=tmp_path), 2)


def test_a_record_of_the_version_before_is_read(tmp_path: Path) -> None:
    """1.0 as it was written: without jobs of an earlier matrix."""
    before = record_of([])
    plain = json.loads(before.model_dump_json()) | {"schema_version": "1.0"}
    del plain["earlier"]
    (tmp_path / "fleet.json").write_text(json.dumps(plain))
    assert read_fleet(tmp_path) == before.model_copy(update={"schema_version": "1.0"})
