"""A device's GPU through its driver alone.

There is no GPU here: the driver is a C library on the processor's memory, called as NVIDIA's is.
"""

import ctypes
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import CheckFailed, NotPossible
from export.runtime import gpu
from export.runtime.exchange import Exchange
from export.runtime.gpu import Driver, Gpu, first_gpu


@pytest.fixture
def allocated(driver: Driver) -> Callable[[], int]:
    """Bytes that this test has allocated and not freed; other tests of the process may have left some."""
    gc.collect()
    before = driver._library.standin_allocated()
    return lambda: int(driver._library.standin_allocated() - before)


def test_the_gpu_by_its_drivers_account(driver: Driver) -> None:
    assert first_gpu() == Gpu("Orin", "8.7", 8 << 30, 8)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("STANDIN_NO_GPU", "1", "the NVIDIA driver sees no GPU"), ("STANDIN_REFUSES", "cuInit", "cuInit: error 999")],
)
def test_a_driver_without_a_gpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotPossible, match=said):
        first_gpu()


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libnone-at-all.so.1")
    with pytest.raises(NotPossible, match=r"no NVIDIA driver \(libnone-at-all"):
        first_gpu()


def test_images_go_there_and_joints_come_back(driver: Driver, allocated: Callable[[], int]) -> None:
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
    assert allocated() == 0


def test_memory_that_is_not_to_be_had(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, allocated: Callable[[], int]
) -> None:
    monkeypatch.setenv("STANDIN_REFUSES", "cuMemAlloc_v2")
    with pytest.raises(CheckFailed, match="cuMemAlloc_v2: error 2"):
        Exchange(driver, (1, 3, 8, 8), (1, 2, 3))
    assert allocated() == 0


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_pinned_images_are_fetched_from_where_they_are(
    driver: Driver, kind: type, allocated: Callable[[], int]
) -> None:
    exchange = Exchange(driver, (4, 8, 8, 3), (4, 2, 3), pixels=kind is np.uint8)
    images: NDArray[Any] = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3).astype(kind)
    pinned = exchange.pinned(images)
    np.testing.assert_array_equal(pinned, images)
    staged = exchange._host_images.value
    exchange._host_images.value = None  # whoever stages them fails
    exchange.put(pinned)
    memory = (ctypes.c_uint8 * images.nbytes).from_address(exchange.images.value or 0)
    there: NDArray[Any] = np.ctypeslib.as_array(memory).view(kind)
    np.testing.assert_array_equal(there.reshape(images.shape), images)
    exchange._host_images.value = staged
    exchange.put(pinned[:, ::2])  # another view that begins at the same place
    np.testing.assert_array_equal(there[: images.size // 2], images[:, ::2].reshape(-1))
    exchange.close()
    assert allocated() == 0


def test_a_launch_is_timed_and_recorded_as_a_graph(driver: Driver, allocated: Callable[[], int]) -> None:
    exchange, launches = Exchange(driver, (1, 3, 8, 8), (1, 2, 3)), list[int]()
    images = np.zeros((1, 3, 8, 8), np.float32)
    exchange.run(images, lambda: launches.append(1))
    assert exchange.device_ms() == 2.5
    for _ in range(2):  # another shape is recorded anew, and the graph before goes
        replay = exchange.capture(lambda: launches.append(2))
    replay()
    assert launches == [1, 2, 2]
    exchange.close()
    assert allocated() == 0
