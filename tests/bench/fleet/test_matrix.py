"""Test matrix files, their jobs, and addresses of schedulers."""

from pathlib import Path

import pytest
import yaml

from bench.fleet.address import require_safe
from bench.fleet.matrix import read_matrix
from bench.fleet.plan import expand
from bench.fleet.spec import code_version
from export.common.errors import BadInput
from tests.support.fleet_cluster import DOCS, documented_tuning
from tests.support.fleet_plans import ORIN, X86

SMALL = {"models": ["S"], "devices": [{"name": "orin", "resource": ORIN}]}


def matrix_file(folder: Path, **changes: object) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return path


def test_matrix_is_expanded_to_a_job_for_each_model_and_device(tmp_path: Path) -> None:
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
    ("changes", "message"),
    [
        ({"modles": ["S"]}, "modles: unknown key"),
        ({"bench": {"buget_s": 3}}, "bench.buget_s: unknown key"),
        ({"devices": [{"name": "orin", "resource": ORIN, "gpu": 1}]}, "devices.0.gpu: unknown key"),
        ({"devices": [{"name": "a", "resource": ORIN}] * 2}, "different names"),
        (
            {"devices": [{"name": "a", "resource": "r", "count": 2}, {"name": "a-2", "resource": "r"}]},
            "different names",
        ),
        ({"devices": [{"name": "../a", "resource": ORIN}]}, "devices.0.name"),
        ({"devices": []}, "devices"),
        ({"models": []}, "models"),
        ({"precisions": ["fp8"]}, "unknown precisions: fp8"),
        ({"runtimes": ["abacus"]}, "unknown runtimes: abacus"),
        ({"runtimes": ["openvino", "openvino"]}, "runtimes: name at least one, each once"),
        ({"deadline_s": float("nan")}, "deadline_s"),
        ({"name": "exports"}, "reserved"),
        ({"bench": {"reference": "abacus"}}, "unknown bench.reference: abacus"),
        ({"bench": {"budget_s": float("inf")}}, "bench.budget_s"),
        ({"bench": {"half_width": float("nan")}}, "bench.half_width"),
        ({"bench": {"deadlines_ms": [float("nan")]}}, "bench.deadlines_ms.0"),
    ],
)
def test_invalid_matrix_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_matrix(matrix_file(tmp_path, **changes))
    assert message in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_plain_connection_to_this_machine_is_allowed(host: str) -> None:
    assert require_safe(f"tcp://{host}:8786", insecure=False) == f"tcp://{host}:8786"
    assert require_safe(f"{host}:8786", insecure=False) == f"tcp://{host}:8786"


@pytest.mark.parametrize("address", ["tcp://192.0.2.7:8786", "192.0.2.7:8786", "ws://lab:80", "tcp://localhost.lab:1"])
def test_plain_connection_to_another_machine_is_refused_unless_insecure(address: str) -> None:
    with pytest.raises(BadInput, match="plain connection"):
        require_safe(address, insecure=False)
    assert require_safe(address, insecure=True).endswith(address)
    assert require_safe("tls://192.0.2.7:8786", insecure=False) == "tls://192.0.2.7:8786"


@pytest.mark.parametrize("address", ["tcp://", "lab", "ftp://lab:1", "tcp://lab:port", "inproc://1/2", "tcp://:8786"])
def test_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="not a scheduler's address"):
        require_safe(address, insecure=True)


def test_documented_matrix_is_read(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    (tmp_path / "matrix.yaml").write_text(text.split("```yaml\n# matrix.yaml", 1)[1].split("```", 1)[0])
    read = read_matrix(tmp_path / "matrix.yaml")
    assert (read.name, len(read.models), [kind.count for kind in read.devices]) == ("spring", 3, [2, 1])
    assert read.models[1].checkpoint == tmp_path / "weights/mine.pth"
    assert read.models[2].model == str(tmp_path / "build/XS-atto")


def test_documented_tuning_has_keys_of_dask() -> None:
    distributed = pytest.importorskip("distributed")
    defaults = yaml.safe_load((Path(distributed.__file__).parent / "distributed.yaml").read_text(encoding="utf-8"))

    def check(tuning: object, known: object) -> None:
        if isinstance(tuning, dict) and isinstance(known, dict):
            assert tuning.keys() <= known.keys()
            for key in tuning:
                check(tuning[key], known[key])

    check(documented_tuning(), defaults)
