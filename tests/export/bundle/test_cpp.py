"""The bundle's C++ program, built with OpenVINO's own headers and run; its TensorRT part was never compiled."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.runtime.openvino import saturates
from tests.support.bundles import copied, report_of, rewrite, verify
from tests.support.command_line import assert_three_parts


@pytest.fixture(scope="module")
def program(once_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    openvino = pytest.importorskip("openvino.utils")
    missing = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("cpp")
    configure: list[str | Path] = ["cmake", "-S", once_bundle / "cpp", "-B", folder, "-DCMAKE_CXX_FLAGS=-Werror"]
    configure.append(f"-DOpenVINO_DIR={openvino.get_cmake_path()}")
    build: list[str | Path] = ["cmake", "--build", folder]
    for command in (configure, build):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
    return folder / "pose_goldens"


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, cwd="/")


def figures(text: str) -> list[float]:
    [values] = re.findall(r"goldens: mean ([\d.e-]+|nan) mm, p99 ([\d.e-]+|nan) mm, max ([\d.e-]+|nan) mm", text)
    return [float(value) for value in values]


def test_errors_are_those_of_the_verifier(program: Path, once_bundle: Path, tmp_path: Path) -> None:
    bundle = copied(once_bundle, tmp_path)
    assert verify(bundle, "--runtime", "openvino", "--seconds", 0).returncode == 0
    results = report_of(bundle / "device-report.json")["results"]
    rows = {row["precision"]: row for row in results if row["runtime"] == "openvino"}
    assert "fp32" in rows
    for precision, row in rows.items():
        if precision == "int8" and saturates():
            continue
        output = run(program, bundle, precision)
        assert output.returncode == 0, output.stdout + output.stderr
        expected = [row["parity"][f"{name}_mm"] for name in ("mean", "p99", "max")]
        tolerance = 0.02 if precision == "fp32" else 0.2  # other batches add up in another order, and round differently
        np.testing.assert_allclose(figures(output.stdout), expected, rtol=tolerance, atol=1e-4)
        assert output.stdout.count("pass:") == len(row["parity"]["limits"])
        assert "weights: checkpoint" in output.stdout


def test_joints_of_the_first_golden_are_printed(program: Path, once_bundle: Path) -> None:
    lines = run(program, once_bundle).stdout.splitlines()
    printed = {name: list(map(float, values)) for name, *values in (line.split() for line in lines[1:19])}
    with np.load(once_bundle / "golden.npz") as file:
        truth = file["truth"][0]
    bin_mm = 2000 / np.array([16, 16, 32])
    assert len(printed) == 18
    np.testing.assert_allclose(printed["Pelvis"], truth[0] * bin_mm - 1000, atol=0.05)
    np.testing.assert_allclose(printed["Thorax"], truth[17] * bin_mm - 1000, atol=0.05)


@pytest.mark.parametrize("planted", [0.05, np.nan])
def test_wrong_joints_fail(program: Path, once_bundle: Path, tmp_path: Path, planted: float) -> None:
    bundle = copied(once_bundle, tmp_path)
    truth = np.fromfile(bundle / "golden/joints.f64", "<f8")
    truth[7::54] += planted
    rewrite(bundle / "golden/joints.f64", lambda _: truth.tobytes())
    output = run(program, bundle)
    assert output.returncode == 1, output.stdout
    assert "fail: max" in output.stdout
    assert np.isnan(planted) == np.isnan(figures(output.stdout)).all()


def test_wrong_input_is_refused(program: Path, once_bundle: Path, tmp_path: Path) -> None:
    assert_three_parts(run(program), 2)
    assert_three_parts(run(program, tmp_path), 2)
    assert_three_parts(run(program, once_bundle, "fp8"), 2)
    assert_three_parts(run(program, once_bundle, "fp32", "tensorrt"), 4)  # not compiled in
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "onnx/once-fp32.onnx", lambda content: content[:1000])
    assert_three_parts(run(program, bundle, "fp32"), 4)
    rewrite(bundle / "golden/images.u8", lambda content: content[:-1])
    assert_three_parts(run(program, bundle), 2)
