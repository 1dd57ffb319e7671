"""What is read, refused and decided before, and beside, anything that is sent to a device."""

from pathlib import Path

import pytest
import yaml

from bench.fleet.address import require_safe
from bench.fleet.matrix import read_matrix
from bench.fleet.plan import expand
from bench.fleet.spec import code_version
from export.common.errors import BadInput
from tests.support.fleet_cluster import DOCS, tuned
from tests.support.fleet_plans import ORIN, X86

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
    specs = list(expand(read, {"S": {"a": "1"}, "large": {"a": "2"}}))
    assert [spec.name for spec in specs] == ["orin/S", "orin-2/S", "x86/S", "orin/large", "orin-2/large", "x86/large"]
    assert {(spec.bench.budget_s, spec.bench.throughput, spec.code) for spec in specs} == {(5, True, code_version())}
    assert len({spec.id for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modles": ["S"]}, "modles: unknown key; allowed are name, models"),
        ({"bench": {"buget_s": 3}}, "bench.buget_s: unknown key; allowed are mode, threads, budget_s"),
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
