"""What holds for all tests."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it in its workers; output in tests is that of a log

from bench.fleet import child, cluster_run, device
from bench.fleet.blobs import BlobCache
from bench.harness.worker import INTERRUPTS
from export.bundle.write import write_bundle
from export.common.files import sha256_path
from export.common.interface import HALVES
from export.graph.onnx_graph import consumer_metadata, export_onnx
from export.graph.precision import in_precision
from export.model.network import build_network
from export.runtime import gpu
from export.runtime.gpu import Driver
from tests.support.bundles import copied, export_once, verify
from tests.support.checkpoints import TINY, alive_weights
from tests.support.command_line import ROOT, in_process
from tests.support.fleet_cluster import Cluster
from tests.support.fleet_fake_job import COMMAND, PRELOAD
from tests.support.tiny_export import Run, export_tiny, read_run, tiny_config

torch.set_num_threads(1)
"""Networks as small as those of the tests gain nothing from a second thread, and wait fifty times as long where
another process keeps that core busy."""

for number in INTERRUPTS:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
"""What a shell in the background, or ``nohup``, has these tests ignore: it would be ignored by every process that they
start, signals are sent to some of them, and a handler of Python's is not inherited."""

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")
"""The same examples in each run, however long making or trying one takes: what fails here fails everywhere."""


def made_once(factory: pytest.TempPathFactory, worker_id: str, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make`` has filled, once for all processes."""
    base = factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / name
    place.mkdir(exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        done = place / "done"
        if not done.exists():
            make(place)
            done.touch()
    return place


def export_demo(place: Path) -> None:
    run = in_process("export", "XS-atto", "--checkpoint", ROOT / "demo/XS-atto-demo.pth", cwd=place)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="session")
def demo_export(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Path]:
    """The demo checkpoint's folder, as ``convnextpose export`` makes it but for the latency table, once for all
    processes, and left as it is."""
    folder = made_once(tmp_path_factory, worker_id, "demo", export_demo) / "build/XS-atto"
    before = sha256_path(folder)
    yield folder
    assert sha256_path(folder) == before, "a test has changed what is all tests'"


def export_typed(folder: Path) -> None:
    network = build_network(TINY, alive_weights())
    for precision in ("fp32", *HALVES):
        path, metadata = folder / f"{precision}.onnx", consumer_metadata(TINY, precision=precision)
        export_onnx(in_precision(network, precision), path, metadata, precision)


@pytest.fixture(scope="session")
def typed_files(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Path]:
    """The tiny network in FP32 and in both halves; tests must leave the files as they are."""
    folder = made_once(tmp_path_factory, worker_id, "typed", export_typed)
    return {precision: folder / f"{precision}.onnx" for precision in ("fp32", *HALVES)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the declaration of a tiny network, to export in."""
    tiny_config(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Run:
    """The tiny network in FP32, exported once for all processes; tests must leave the folder as it is."""
    return read_run(made_once(tmp_path_factory, worker_id, "tiny", export_tiny))


@pytest.fixture
def tiny_copy(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(tiny_run[0], tmp_path / "tiny"))


@pytest.fixture(scope="session")
def once_export(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A small trained network in four precisions, exported once for all processes; tests must leave it as it is."""
    return made_once(tmp_path_factory, worker_id, "once", export_once) / "build/once"


@pytest.fixture(scope="session")
def once_bundle(once_export: Path) -> Path:
    """That network's bundle, written once for all processes; tests must leave it as it is."""
    place = once_export.parents[1] / "bundles"
    with FileLock(place.with_suffix(".lock")):
        done = place / "done"
        if not done.exists():
            write_bundle(once_export, place)
            done.touch()
    return place / "once-bundle"


@pytest.fixture(scope="session")
def device_report(once_bundle: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The real report of that bundle's verifier, made once for all processes; tests must leave it as it is."""

    def run_verifier(place: Path) -> None:
        run = verify(once_bundle, "--out", place / "orin.json", "--seconds", "4", "--no-build")
        assert run.returncode == 0, run.stderr

    return made_once(tmp_path_factory, worker_id, "verified", run_verifier) / "orin.json"


@pytest.fixture
def exported(once_export: Path, tmp_path: Path) -> Path:
    """A copy of that export, to be changed."""
    return copied(once_export, tmp_path)


@pytest.fixture
def bundle(once_bundle: Path, tmp_path: Path) -> Path:
    """A copy of that bundle, to be changed."""
    return copied(once_bundle, tmp_path)


@pytest.fixture
def sources(tmp_path: Path) -> BlobCache:
    """Files that jobs of a fleet name."""
    return BlobCache(tmp_path / "blobs")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device's folder, and a machine's locks, of its own; what measures there is ``tests.support.fleet_fake_job``."""
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / "device"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(child, "COMMAND", COMMAND)
    return tmp_path / "device"


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``convnextpose fleet`` in this process, in the test's folder."""
    return lambda *arguments: in_process("fleet", *arguments, cwd=tmp_path)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start a scheduler for workers that measure as ``tests.support.fleet_fake_job`` does, polled often."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster_run, "POLL_S", 0.2)
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", preload=PRELOAD) as made:
        yield made


@pytest.fixture(scope="session")
def driver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the fake driver, which has the name of NVIDIA's."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    source, target = ROOT / "tests/support/fake_driver.c", folder / gpu.DRIVER
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", target, source], check=True)
    return folder


@pytest.fixture
def driver(driver_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Return the fake driver, which this project and a bundle's runtime load."""
    from pose_runtime.runtime import gpu as device_gpu

    for module in (gpu, device_gpu):
        monkeypatch.setattr(module, "DRIVER", str(driver_folder / "libcuda.so.1"))
    return gpu.Driver()
