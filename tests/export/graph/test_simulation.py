"""Simulated rounding equals half-precision arithmetic, and sessions report their types."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.common.interface import HALVES, INPUT
from export.graph.precision import HALF, half_graph, in_precision
from export.graph.simulation import with_rounding
from export.model.network import ConvNeXtPose, build_network
from export.model.reference import run_reference
from export.parity.comparison import ErrorSummary, summarize_errors
from export.parity.sessions import SimulatedSession, computation, parity_runtimes, run_batches
from export.runtime.pose import Volume, normalise
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import SHAPES_SEED, drawn_images
from tests.support.tiny_int8 import rounded_to_nearest

VOLUME = Volume(TINY.heatmap_size, TINY.depth_dim, TINY.input_size)
COUNT = 10


def network() -> ConvNeXtPose:
    return build_network(TINY, alive_weights())


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return drawn_images(COUNT, TINY.input_size, SHAPES_SEED)


@pytest.fixture(scope="module")
def truth(images: NDArray[np.uint8]) -> NDArray[np.floating]:
    return run_reference(network().double(), images, 5)


@pytest.fixture(params=HALVES)
def written(request: pytest.FixtureRequest, typed_files: dict[str, Path]) -> tuple[str, Path]:
    return request.param, typed_files[request.param]


# ── rounding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def near(seen: ErrorSummary, expected: ErrorSummary) -> bool:
    return 0.7 < seen.mean_mm / expected.mean_mm < 1.4


def test_rounding_simulated_is_what_half_arithmetic_does(
    written: tuple[str, Path], images: NDArray[np.uint8], truth: NDArray[np.floating]
) -> None:
    """PyTorch's own half convolutions, the rounded network, and the file with every value rounded: as far off."""
    precision, path = written
    with torch.inference_mode():
        real = in_precision(network(), precision)(torch.from_numpy(normalise(images))).numpy()
    expected = summarize_errors(truth, real, VOLUME)
    rounded = summarize_errors(truth, run_reference(rounded_to_nearest(network(), precision), images, 5), VOLUME)
    simulated = summarize_errors(truth, run_batches(SimulatedSession(path, precision), normalise(images), 5), VOLUME)
    assert near(rounded, expected), (rounded, expected)
    assert near(simulated, expected), (simulated, expected)
    unrounded = summarize_errors(truth, run_reference(half_graph(network(), torch.float32), images, 5), VOLUME)
    assert unrounded.mean_mm < expected.mean_mm / 100


def test_every_half_value_of_a_simulation_is_rounded(written: tuple[str, Path], images: NDArray[np.uint8]) -> None:
    """ONNX Runtime must not take a cast there and back for nothing."""
    precision, path = written
    model = onnx.load(path)
    kept = [node.output[0] for node in model.graph.node if node.op_type in ("Conv", "Relu", "Add", "Resize")][1:]
    simulated = with_rounding(model)
    simulated.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(simulated.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = [torch.from_numpy(value) for value in session.run(kept, {INPUT: normalise(images[:1])})]
    assert {value.dtype for value in values} == {torch.float32}
    assert all(torch.equal(value.to(HALF[precision]).float(), value) for value in values)


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_session_says_what_it_computed_in(
    written: tuple[str, Path], images: NDArray[np.uint8], truth: NDArray[np.floating]
) -> None:
    precision, path = written
    inputs = normalise(images)
    sessions = [runtime.open(path, precision) for runtime in parity_runtimes(precision)[0]]
    for session in sessions:
        assert "CPU" in session.describe()
        one_by_one, together = run_batches(session, inputs, 1), run_batches(session, inputs, 4)
        assert one_by_one.shape == together.shape == truth.shape
        assert one_by_one.dtype == np.float32
    said = computation(sessions[0])
    if precision == "bf16":
        import openvino

        can = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        kinds = "bfloat16" if can else "(bfloat16|float32)"  # processors with AVX-512 alone may emulate it
        assert re.search(rf"26 convolutions in {kinds}, decode in float32", said)
    else:
        assert re.search(r"CPU, threads: \d+; \d\d convolutions in float", said)
