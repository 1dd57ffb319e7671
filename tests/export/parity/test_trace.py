"""The trace names the first layer with a planted defect, and none without one."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.common.errors import BadInput
from export.parity.images import parity_images
from export.parity.trace import (
    LayerError,
    first_departure,
    largest_jump,
    require_traceable,
    trace,
    trace_record,
)
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "truth.npz"
    np.savez(path, images=parity_images(TINY.input_size).images[:4])
    return path


def test_rounding_alone_is_no_departure(typed_files: dict[str, Path], truth: Path) -> None:
    record = trace_record(typed_files["fp32"], typed_files["fp16"], "fp16", truth)
    assert len(record["layers"]) == 26
    assert record["first_departure"] is None
    assert record["runtime"] == "ONNX Runtime, rounding simulated"
    assert 0 < max(layer["relative_error"] for layer in record["layers"]) < record["expected_relative_error"]


def test_rounding_between_layers_is_not_hidden(typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime alone computes the same file in FP32 between its layers, and seems nearer than FP16 is."""
    images = normalise(parity_images(TINY.input_size).images[:2])
    files = typed_files["fp32"], typed_files["fp16"]
    rounded = trace(*files, images)
    monkeypatch.setattr("export.parity.trace.with_rounding", lambda model: model)
    unrounded = trace(*files, images)
    assert rounded[-1].relative_error > 1.2 * unrounded[-1].relative_error


@pytest.mark.parametrize("layer", ["backbone.stages.1.0.pwconv1", "head.final_layer"])
def test_the_layer_with_the_defect_is_named(
    typed_files: dict[str, Path], truth: Path, tmp_path: Path, layer: str
) -> None:
    model = onnx.load(typed_files["fp16"])
    conv = next(node for node in model.graph.node if node.name == f"{layer}/Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])
    spoiled = (numpy_helper.to_array(weight) * 1.1).astype(np.float16)
    weight.CopyFrom(numpy_helper.from_array(spoiled, weight.name))
    onnx.save(model, tmp_path / "spoiled.onnx")
    record = trace_record(typed_files["fp32"], tmp_path / "spoiled.onnx", "fp16", truth)
    assert record["first_departure"] == layer
    assert record["largest_jump"]["layer"] == layer


def test_the_largest_jump_is_no_sum_of_small_ones() -> None:
    """The line is crossed late by what came early."""
    errors = {"a": 0.001, "b": 0.05, "c": 0.07, "d": 0.09, "e": 0.11, "f": 0.02}
    drifts = [LayerError(name, error, 1.0, 1.0) for name, error in errors.items()]
    departed, jump = first_departure(drifts, "int8"), largest_jump(drifts)
    assert departed is not None
    assert (departed.layer, jump.layer, jump.before, jump.after) == ("e", "b", 0.001, 0.05)
    broken = [*drifts, LayerError("g", float("nan"), 1.0, 1.0)]
    assert largest_jump(broken).layer == "g"


def test_not_a_number_is_a_departure(typed_files: dict[str, Path], truth: Path, tmp_path: Path) -> None:
    model = onnx.load(typed_files["fp16"])
    weight = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16 and len(t.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(np.nan), weight.name))
    onnx.save(model, tmp_path / "nan.onnx")
    record = trace_record(typed_files["fp32"], tmp_path / "nan.onnx", "fp16", truth)
    assert record["first_departure"] is not None
    assert first_departure([], "fp16") is None


def test_what_cannot_be_traced_is_refused(typed_files: dict[str, Path], tmp_path: Path) -> None:
    for variant in ("fp32", "fp16-pixels", "fp8", ""):
        with pytest.raises(BadInput, match="compares fp32"):
            require_traceable(variant)
    with pytest.raises(BadInput, match="parity images"):
        trace_record(typed_files["fp32"], typed_files["fp16"], "fp16", tmp_path / "nowhere.npz")
