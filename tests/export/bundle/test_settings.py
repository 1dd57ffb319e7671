"""Settings in a device's report: power mode, clocks, cores and threads.

Outputs of ``nvpmodel -q`` are those that owners of Jetsons published; the folders have the names of Linux's.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pose_verify import settings as modes
from pose_verify.device import describe_software
from pose_verify.settings import cpu_clocks, gpu_clocks
from pose_verify.table import settings_line

from bench.results.device_report import read_device_report
from tests.support.bundles import report_of, verify

REFUSED = (
    "NVPM ERROR: Error opening /sys/kernel/nvpmodel_emc_cap/emc_iso_cap: 13\n"
    "NVPM ERROR: failed to read PARAM EMC: ARG MAX_FREQ: PATH /sys/kernel/nvpmodel_emc_cap/emc_iso_cap\n"
)
VERBOSE = (
    "NVPM VERB: Config file: /etc/nvpmodel.conf\nNVPM VERB: Current mode: NV Power Mode: 25W\n1\n"
    "NVPM VERB: PARAM CPU_ONLINE: ARG CORE_0: PATH /sys/devices/system/cpu/cpu0/online: REAL_VAL: 1 CONF_VAL: 1\n"
)


@pytest.mark.parametrize(
    ("output", "name", "number"),
    [
        ("NV Power Mode: 25W\n1\n", "25W", 1),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_DESKTOP\n7\n" + REFUSED, "MODE_15W_DESKTOP", 7),
        ("NVPM WARN: fan mode is not set\r\nNV Power Mode: MODE_30W_2CORE\r\n2\r\n", "MODE_30W_2CORE", 2),
        ("NV Power Mode: 5W\n" + REFUSED + "1\n", "5W", 1),  # without root, on a Nano
        (VERBOSE, "25W", 1),
        ("NV Power Mode: MY OWN MODE\n", "MY OWN MODE", None),
    ],
)
def test_output_of_nvpmodel(output: str, name: str, number: int | None) -> None:
    assert modes.parse_mode(output) == {"name": name, "number": number}


@pytest.fixture
def nvpmodel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a program of this name first in the search path."""

    def write(script: str) -> None:
        tool = tmp_path / "bin/nvpmodel"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")

    return write


@pytest.mark.parametrize(
    ("script", "mode", "reason"),
    [
        ('[ "$*" = -q ] && printf "NV Power Mode: 15W\\n0\\n"', {"name": "15W", "number": 0}, None),
        ('echo "NV Power Mode: 5W"; echo 1; echo "NVPM ERROR: 13" >&2; exit 255', {"name": "5W", "number": 1}, None),
        ('echo "NVPM ERROR: failed" >&2; exit 255', None, "nvpmodel -q prints no mode"),
    ],
)
def test_nvpmodel_is_called(nvpmodel: Callable[[str], None], script: str, mode: object, reason: str | None) -> None:
    nvpmodel(script)
    assert modes.power_mode() == (mode, reason)


def test_a_hanging_nvpmodel_is_killed_with_its_children(
    nvpmodel: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvpmodel(f"sleep 600 & echo $! > {tmp_path}/child; wait")
    monkeypatch.setattr(modes, "LIMIT_S", 1)
    assert modes.power_mode() == (None, "nvpmodel -q did not answer within 1 s")
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    deadline = time.monotonic() + 10
    while child.exists() and child.read_text().split(")")[1].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_most_devices_have_no_nvpmodel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(modes, "PLACES", str(tmp_path))
    assert modes.power_mode() == (None, "there is no nvpmodel")


def write_files(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def policy(first: int, cores: str, governor: str, low: int, high: int) -> dict[str, object]:
    values = {"affected_cpus": cores, "scaling_governor": governor, "scaling_min_freq": low, "scaling_max_freq": high}
    return {f"sys/devices/system/cpu/cpufreq/policy{first}/{name}": value for name, value in values.items()}


def test_clocks_of_cores_and_of_the_gpu(tmp_path: Path) -> None:
    gpu, memory = "sys/class/devfreq/17000000.gpu", "sys/class/devfreq/15340000.vic"
    orin = write_files(
        tmp_path,
        {
            **policy(4, "4 5", "schedutil", 115200, 1510400),
            **policy(0, "0 1 2 3", "schedutil", 115200, 1510400),
            **policy(10, "10", "performance", 1510400, 1510400),
            **policy(8, "", "schedutil", 115200, 1510400),  # switched off by the power mode
            f"{gpu}/min_freq": 624750000,
            f"{gpu}/max_freq": 624750000,
            f"{memory}/min_freq": 1,
        },
    )
    assert cpu_clocks(orin) == [
        {"cores": [0, 1, 2, 3, 4, 5], "governor": "schedutil", "min_khz": 115200, "max_khz": 1510400},
        {"cores": [10], "governor": "performance", "min_khz": 1510400, "max_khz": 1510400},
    ]
    assert gpu_clocks(orin) == [{"name": "17000000.gpu", "min_hz": 624750000, "max_hz": 624750000}]


@pytest.mark.parametrize("name", ["17000000.ga10b", "57000000.gpu", "gpu-gpc-0"])
def test_names_of_the_gpus_clock(tmp_path: Path, name: str) -> None:
    assert len(gpu_clocks(write_files(tmp_path, {f"sys/class/devfreq/{name}/min_freq": 1}))) == 1


def test_a_machine_without_readable_settings(tmp_path: Path) -> None:
    assert (cpu_clocks(tmp_path), gpu_clocks(tmp_path)) == ([], [])
    damaged = write_files(tmp_path, {"sys/devices/system/cpu/cpufreq/policy0/affected_cpus": "0"})
    assert cpu_clocks(damaged) == [{"cores": [0], "governor": None, "min_khz": None, "max_khz": None}]


def test_the_version_is_the_one_of_the_module_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text('__version__ = "1.23.2"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert describe_software()["onnxruntime"] == "1.23.2"


def test_the_verifier_reports_the_mode_and_the_threads(
    once_bundle: Path, tmp_path: Path, nvpmodel: Callable[[str], None]
) -> None:
    nvpmodel('echo "NVPM WARN: fan mode is not set!"; echo "NV Power Mode: MAXN_SUPER"; echo 2')
    out = tmp_path / "report.json"
    arguments = ("--seconds", 0, "--precision", "fp32", "--runtime", "onnxruntime,openvino", "--threads", 1)
    run = verify(once_bundle, *arguments, "--out", out, PATH=os.environ["PATH"])
    assert run.returncode == 0, run.stderr
    report = read_device_report(out)
    assert report.settings is not None
    assert report.settings.power_mode is not None
    assert (report.settings.power_mode.name, report.settings.power_mode.number) == ("MAXN_SUPER", 2)
    assert {row.runtime: row.threads for row in report.results if row.asked} == {"onnxruntime": 1, "openvino": 1}
    assert "MAXN_SUPER (2)" in run.stdout
    line = settings_line(jetson(report_of(out)))
    assert all(part in line for part in ("mode not known", "115 to 1510 MHz", "625 MHz", "limited to the time of 1.5"))


def jetson(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a Jetson with an unknown power mode."""
    clocks = {"cores": list(range(6)), "governor": "schedutil", "min_khz": 115200, "max_khz": 1510400}
    gpu = {"name": "17000000.gpu", "min_hz": 624750000, "max_hz": 624750000}
    settings = {"cpu_clocks": [clocks], "gpu_clocks": [gpu], "cpu_limit": 1.5, "affinity": list(range(6))}
    settings |= {"power_mode": None, "no_power_mode": "nvpmodel -q prints no mode: nothing"}
    return report | {"settings": settings, "device": report["device"] | {"l4t": "36.4.3"}}
