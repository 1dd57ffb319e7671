"""A processor whose int8 sums saturate is found out, and judges no file."""

import platform

import numpy as np
import onnxruntime
import pytest

from bench.machine import INT8_FEATURES, cpu_features
from export import runners
from export.interface import PRECISIONS
from export.runners import OnnxRuntime, OpenVino, Rounded, judges
from export.saturation import CHANNELS, LARGEST, SATURATES, largest_products, openvino_saturates


def test_the_sums_that_are_asked_for_are_those_of_the_graph() -> None:
    """In floating point, where nothing saturates; so what comes out otherwise is the processor's."""
    session = onnxruntime.InferenceSession(largest_products().SerializeToString(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"image": np.full((1, CHANNELS, 4, 4), LARGEST, np.float32)})
    assert np.all(sums == CHANNELS * LARGEST * LARGEST)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="which instructions do it exactly is known of x86-64")
def test_what_was_tried_agrees_with_what_the_processor_says_of_itself() -> None:
    assert openvino_saturates() != any(feature in INT8_FEATURES for feature in cpu_features())


def test_saturating_sums_judge_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "openvino_saturates", lambda: False)
    assert judges("int8") == ((OnnxRuntime, OpenVino, Rounded), {})
    monkeypatch.setattr(runners, "openvino_saturates", lambda: True)
    assert judges("int8") == ((OnnxRuntime, Rounded), {"OpenVINO": SATURATES})


def test_every_precision_has_a_judge() -> None:
    for precision in PRECISIONS:
        assert judges(precision)[0]
    assert judges("bf16")[1].keys() == {"ONNX Runtime"}
