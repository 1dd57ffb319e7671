"""Pixel variants: uint8 input and the same joints."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.common.errors import CheckFailed
from export.graph.onnx_graph import check_onnx, export_onnx
from export.graph.precision import in_precision
from export.model.network import ConvNeXtPose, build_network
from export.model.reference import run_reference
from export.parity.sessions import SimulatedSession, run_batches
from export.runtime.onnx_runtime import OnnxRuntimeSession
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import SHAPES_SEED, drawn_images

PRECISIONS = ("fp32", "fp16")


@pytest.fixture(scope="module")
def reference() -> ConvNeXtPose:
    return build_network(TINY, alive_weights())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, reference: ConvNeXtPose) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pixels")
    for precision in PRECISIONS:
        graph = in_precision(reference, precision, takes_pixels=True)
        export_onnx(graph, folder / f"{precision}.onnx", {}, precision)
    return {precision: folder / f"{precision}.onnx" for precision in PRECISIONS}


def test_the_input_is_bytes_as_decoders_give_them(files: dict[str, Path]) -> None:
    for path in files.values():
        (image,) = onnx.load(path).graph.input
        assert image.name == "image"
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 256, 256, 3]


def test_bytes_are_cast_before_all_else(files: dict[str, Path]) -> None:
    """TensorRT takes bytes for a cast only."""
    for path in files.values():
        users = [node.op_type for node in onnx.load(path).graph.node if "image" in node.input]
        assert users == ["Cast"]


def test_fp32_joints_are_the_reference_s(files: dict[str, Path], reference: ConvNeXtPose) -> None:
    """In FP64, since the reference's own FP32 error is 1.6e-3 bins here; that of the file is 2.6e-4."""
    images = drawn_images(6, 256, SHAPES_SEED)
    joints = run_batches(OnnxRuntimeSession(files["fp32"], "fp32"), images, 4)
    np.testing.assert_allclose(joints, run_reference(copy.deepcopy(reference).double(), images, 3), atol=1e-3)


def test_a_half_variant_differs_in_nothing_but_its_input(files: dict[str, Path], typed_files: dict[str, Path]) -> None:
    """Both read the same whole numbers, which half precision holds exactly; what comes before is FP32 in one."""
    images = drawn_images(4, 256, SHAPES_SEED)
    by_pixels = run_batches(SimulatedSession(files["fp16"], "fp16"), images, 2)
    by_floats = run_batches(SimulatedSession(typed_files["fp16"], "fp16"), normalise(images), 2)
    assert np.abs(by_pixels - by_floats).mean() < 0.02


def test_a_float_graph_is_no_pixel_graph(files: dict[str, Path], reference: ConvNeXtPose) -> None:
    with pytest.raises(CheckFailed, match="interface"):
        check_onnx(files["fp32"], in_precision(reference, "fp32"), "fp32")
