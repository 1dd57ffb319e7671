"""Runtimes that compute INT8 wrongly are skipped."""

import platform

import numpy as np
import onnxruntime
import pytest

from bench.machine.system import INT8_FEATURES, cpu_features
from bench.report.measurement import SIMULATED
from export.common.errors import NotPossible
from export.common.interface import PRECISIONS
from export.parity import sessions as parity_sessions
from export.parity.sessions import ONNX_RUNTIME, OPENVINO, SIMULATION, parity_runtimes
from export.runtime import openvino
from export.runtime.openvino import PROBE_CHANNELS, PROBE_VALUE, SATURATES, OpenVinoSession, saturates
from tests.support.int8_probe import FILE, largest_products


def test_the_probe_is_the_one_that_is_shipped() -> None:
    assert largest_products().SerializeToString(deterministic=True) == FILE.read_bytes()


def test_the_sums_that_are_asked_for_are_those_of_the_graph() -> None:
    """In floating point, where nothing saturates; so what comes out otherwise is the processor's."""
    session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"image": np.full((1, PROBE_CHANNELS, 4, 4), PROBE_VALUE, np.float32)})
    assert np.all(sums == PROBE_CHANNELS * PROBE_VALUE * PROBE_VALUE)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="which instructions do it exactly is known of x86-64")
def test_what_was_tried_agrees_with_what_the_processor_says_of_itself() -> None:
    assert saturates() != any(feature in INT8_FEATURES for feature in cpu_features())


def test_saturating_sums_judge_no_file_and_open_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_sessions, "saturates", lambda: False)
    assert parity_runtimes("int8") == ((ONNX_RUNTIME, OPENVINO, SIMULATION), {})
    monkeypatch.setattr(parity_sessions, "saturates", lambda: True)
    assert parity_runtimes("int8") == ((ONNX_RUNTIME, SIMULATION), {"OpenVINO": SATURATES})
    monkeypatch.setattr(openvino, "saturates", lambda: True)
    with pytest.raises(NotPossible, match="saturate"):
        OpenVinoSession(FILE, "int8")


@pytest.mark.parametrize(("version", "right"), [("1.19.2", False), ("1.29.0", False), ("1.30.0", True), ("2.0", True)])
def test_an_onnx_runtime_that_computes_int8_wrongly_judges_no_int8_file(
    monkeypatch: pytest.MonkeyPatch, version: str, right: bool
) -> None:
    """By the version of the module that runs, which package metadata need not be."""
    monkeypatch.setattr(onnxruntime, "__version__", version)
    monkeypatch.setattr(parity_sessions, "saturates", lambda: False)
    runtimes, cannot = parity_runtimes("int8")
    assert (ONNX_RUNTIME in runtimes) == right
    assert ("ONNX Runtime" in cannot) != right
    assert ONNX_RUNTIME in parity_runtimes("fp16")[0]


def test_every_precision_has_a_judge() -> None:
    for precision in PRECISIONS:
        assert parity_runtimes(precision)[0]
    assert parity_runtimes("bf16")[1].keys() == {"ONNX Runtime"}


def test_the_report_knows_the_simulation_by_its_name() -> None:
    assert SIMULATION.name == SIMULATED
