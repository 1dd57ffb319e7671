"""A device's GPU through its driver alone.

There is no GPU here: the driver is a C library on the processor's memory, called as NVIDIA's is.
"""

import ctypes

import numpy as np
import pose_runtime
import pytest
from pose_runtime import gpu
from pose_runtime.gpu import Driver, Exchange, first_gpu

from tests.bundle.engines import ORIN


def test_the_gpu_by_its_drivers_account(driver: Driver) -> None:
    assert first_gpu(driver) == ORIN


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("STANDIN_NO_GPU", "1", "the driver sees none"), ("STANDIN_REFUSES", "cuInit", "cuInit: error 999")],
)
def test_a_driver_without_a_gpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(pose_runtime.NotPossible, match=said):
        first_gpu(driver)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libnone-at-all.so.1")
    with pytest.raises(pose_runtime.NotPossible, match=r"no NVIDIA driver \(libnone-at-all"):
        first_gpu()


def test_images_go_there_and_joints_come_back(driver: Driver) -> None:
    exchange = Exchange(driver, (4, 3, 8, 8), (4, 2, 3))
    assert exchange.stream_handle == 77
    images = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    exchange.put(images)
    there = (ctypes.c_float * images.size).from_address(exchange.images.value)
    np.testing.assert_array_equal(np.ctypeslib.as_array(there).reshape(images.shape), images)
    assert np.isnan(exchange.take(4)).all()  # what nothing was written to is no result
    joints = np.arange(24, dtype=np.float32)
    np.ctypeslib.as_array((ctypes.c_float * 24).from_address(exchange.joints.value))[:] = joints
    first = exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])
    exchange.put(images)
    exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])  # a copy
    exchange.close()
    assert driver._library.standin_allocated() == 0


def test_memory_that_is_not_to_be_had(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_REFUSES", "cuMemAlloc_v2")
    with pytest.raises(pose_runtime.CheckFailed, match="cuMemAlloc_v2: error 2"):
        Exchange(driver, (1, 3, 8, 8), (1, 2, 3))
