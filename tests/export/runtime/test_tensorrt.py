"""Sessions of engines: batches, pixels, CUDA graphs and refusals, with the fake TensorRT."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed, NotPossible
from export.runtime.engine_file import TENSORRT_RTX
from export.runtime.inspector import read_convolution_types
from tests.support.fake_engines import FakeEngines, assert_joints, images, pixels


def test_batches_of_all_sizes(engines: FakeEngines) -> None:
    session = engines.open()
    results = [(images(count), session.run(images(count))) for count in (1, 4, 3, 3, 1)]
    for batch, joints in results:  # later runs do not change earlier results
        assert_joints(joints, batch)
        assert joints.dtype == np.float32
    shapes = [call for call in engines.calls if call.startswith("shape")]
    assert shapes == ["shape 4", "shape 1", "shape 4", "shape 3", "shape 1"]  # the first is for its memory
    strided = images(2)[:, :, :, ::-1]
    assert_joints(session.run(strided), strided)


def test_cuda_graphs(engines: FakeEngines) -> None:
    engines.note_driver()
    session = engines.open(graph=True)
    for count in (2, 2, 2, 3, 3):
        assert_joints(session.run(images(count)), images(count))
    if engines.product == TENSORRT_RTX:
        assert engines.configs[-1].cuda_graph_strategy == "whole"
        assert "capture" not in engines.calls
    else:  # one capture for each new shape, after one plain launch
        graphs = [call for call in engines.calls if call in ("capture", "replay")]
        assert graphs == ["capture", "replay", "replay", "capture", "replay"]


def test_rtx_compiles_kernels_before_the_first_run(engines: FakeEngines) -> None:
    engines.open()
    assert len(engines.configs) == (engines.product == TENSORRT_RTX)
    for config in engines.configs:
        assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert config.cuda_graph_strategy is None


@pytest.mark.parametrize("graph", [False, True])
def test_joints_that_the_engine_does_not_write_are_nan(engines: FakeEngines, graph: bool) -> None:
    engines.note_driver()
    session = engines.open(graph=graph)
    session.run(images(4))
    engines.plant("WRITES", "3")  # the last pose must not be the earlier run's
    joints = session.run(images(4))
    assert np.isfinite(joints[:3]).all()
    assert np.isnan(joints[3]).all()
    engines.mend("WRITES")
    assert_joints(session.run(images(4)), images(4))


@pytest.mark.parametrize("graph", [False, True])
def test_pixels(pixel_engines: FakeEngines, graph: bool) -> None:
    pixel_engines.note_driver()
    session = pixel_engines.open(graph=graph)
    assert session.takes_pixels
    for count in (1, 4, 4, 3):
        assert_joints(session.run(pixels(count)), pixels(count))


@pytest.mark.parametrize(
    "batch", [images(1), pixels(1).astype(np.float32), pixels(1).transpose(0, 3, 1, 2), pixels(1)[0]]
)
def test_an_engine_of_pixels_refuses_other_images(pixel_engines: FakeEngines, batch: NDArray[Any]) -> None:
    with pytest.raises(BadInput, match=r"give \(N, 4, 4, 3\) uint8"):
        pixel_engines.open().run(batch)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (images(5), "a batch of 5 is outside the engine's profile — 1 to 4"),
        (images(1)[:0], "a batch of 0 is outside"),
        (images(1)[:, :2], "do not fit the engine"),
        (images(1).astype(np.float64), "float64"),
        ((images(1) * 0).astype(np.uint8).transpose(0, 2, 3, 1), "uint8"),
        (images(1)[0], "do not fit the engine"),
    ],
)
def test_images_that_do_not_fit(engines: FakeEngines, batch: NDArray[Any], message: str) -> None:
    session = engines.open()
    engines.calls.clear()
    with pytest.raises(BadInput, match=message):
        session.run(batch)
    assert engines.calls == []


@pytest.mark.parametrize(
    ("defect", "kind", "message"),
    [
        (("LOADS_NOTHING", "1"), NotPossible, "does not load .* — planted refusal"),
        (("HAS_NO_ROOM", "1"), NotPossible, "too little memory to run"),
        (("REFUSES_ADDRESSES", "1"), CheckFailed, "does not take the address of image"),
        (("INPUT_TYPE", "HALF"), CheckFailed, "image: INPUT HALF"),
        (("INPUT_TYPE", "UINT8"), CheckFailed, "image: INPUT UINT8"),
        (("INPUT_NAME", "input"), CheckFailed, "input: INPUT FLOAT"),
    ],
)
def test_an_engine_that_the_library_refuses(
    engines: FakeEngines, defect: tuple[str, str], kind: type[Exception], message: str
) -> None:
    engines.plant(*defect)
    with pytest.raises(kind, match=message):
        engines.open()


def test_an_engine_for_other_shapes_than_its_record_says(engines: FakeEngines) -> None:
    profile = engines.record.profile
    engines.record = replace(engines.record, profile=replace(profile, max=(8, *profile.max[1:])))
    with pytest.raises(CheckFailed, match="other shapes than its record says"):
        engines.open()


def test_a_launch_that_fails(engines: FakeEngines) -> None:
    session = engines.open()
    engines.plant("LAUNCHES", "0")
    with pytest.raises(CheckFailed, match="does not take the launch"):
        session.run(images(1))


def test_a_refused_shape_does_not_stay_set(engines: FakeEngines) -> None:
    session = engines.open()
    session.run(images(2))
    engines.plant("LARGEST_BATCH", "2")
    with pytest.raises(CheckFailed, match=r"does not take the shape \(3, 3, 4, 4\)"):
        session.run(images(3))
    assert_joints(session.run(images(2)), images(2))


def test_a_closed_engine_cannot_run(engines: FakeEngines) -> None:
    session = engines.open()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(images(1))


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ('{"Layers": [{"LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Half"}]}]}', {"Half": 1}),
        (
            '{"Layers": [{"LayerType": "conv", "Outputs": [{"DataType": "Float"}, {"DataType": "Half"}]}]}',
            {"Float": 1, "Half": 1},
        ),
        ('{"Layers": ["conv1", "conv2"]}', {}),
        ("", {}),
        ("[]", {}),
    ],
)
def test_convolution_types_of_an_inspector(text: str, types: dict[str, int]) -> None:
    assert read_convolution_types(text) == types
