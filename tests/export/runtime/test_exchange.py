"""The GPU and its memory, with a fake driver on the processor's memory."""

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
    """Return a function that counts this test's allocations that are not freed yet."""
    gc.collect()
    before = driver._library.fake_allocated()
    return lambda: int(driver._library.fake_allocated() - before)


def test_the_first_gpu(driver: Driver) -> None:
    assert first_gpu() == Gpu("Orin", "8.7", 8 << 30, 8)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [("FAKE_NO_GPU", "1", "the NVIDIA driver sees no GPU"), ("FAKE_REFUSES", "cuInit", "cuInit: error 999")],
)
def test_a_driver_without_a_gpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotPossible, match=message):
        first_gpu()


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libnone-at-all.so.1")
    with pytest.raises(NotPossible, match=r"no NVIDIA driver \(libnone-at-all"):
        first_gpu()


def test_images_and_joints_are_copied(driver: Driver, allocated: Callable[[], int]) -> None:
    exchange = Exchange(driver, (4, 3, 8, 8), (4, 2, 3))
    assert exchange.stream_handle == 77
    images = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    exchange.put(images)
    on_gpu = (ctypes.c_float * images.size).from_address(exchange.images.value)
    np.testing.assert_array_equal(np.ctypeslib.as_array(on_gpu).reshape(images.shape), images)
    assert np.isnan(exchange.take(4)).all()  # nothing was written
    joints = np.arange(24, dtype=np.float32)
    np.ctypeslib.as_array((ctypes.c_float * 24).from_address(exchange.joints.value))[:] = joints
    first = exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])
    exchange.put(images)
    exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])  # a copy
    exchange.close()
    assert allocated() == 0


def test_too_little_memory(driver: Driver, monkeypatch: pytest.MonkeyPatch, allocated: Callable[[], int]) -> None:
    monkeypatch.setenv("FAKE_REFUSES", "cuMemAlloc_v2")
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
    exchange._host_images.value = None  # copying through it would crash
    exchange.put(pinned)
    memory = (ctypes.c_uint8 * images.nbytes).from_address(exchange.images.value or 0)
    on_gpu: NDArray[Any] = np.ctypeslib.as_array(memory).view(kind)
    np.testing.assert_array_equal(on_gpu.reshape(images.shape), images)
    exchange._host_images.value = staged
    exchange.put(pinned[:, ::2])  # another view with the same address
    np.testing.assert_array_equal(on_gpu[: images.size // 2], images[:, ::2].reshape(-1))
    exchange.close()
    assert allocated() == 0


def test_a_launch_is_timed_and_recorded_as_a_graph(driver: Driver, allocated: Callable[[], int]) -> None:
    exchange, launches = Exchange(driver, (1, 3, 8, 8), (1, 2, 3)), list[int]()
    images = np.zeros((1, 3, 8, 8), np.float32)
    exchange.run(images, lambda: launches.append(1))
    assert exchange.device_ms() == 2.5
    for _ in range(2):  # a second graph replaces the first
        replay = exchange.capture(lambda: launches.append(2))
    replay()
    assert launches == [1, 2, 2]
    exchange.close()
    assert allocated() == 0
