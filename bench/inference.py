"""From crops to joints, whatever the backend's input is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.backends.protocol import Backend
from export.pose import Array, Volume, normalise


def network_input(backend: Backend, crops: NDArray[np.uint8]) -> NDArray[Any]:
    """(N, S, S, 3) RGB → what ``backend`` is to be given."""
    return np.ascontiguousarray(crops) if backend.takes_pixels else normalise(crops)


def joints_in(
    crops: NDArray[np.uint8], backend: Backend, volume: Volume, flip_pairs: Sequence[tuple[int, int]] | None = None
) -> Array:
    """(N, S, S, 3) RGB → (N, J, 3) bins; with ``flip_pairs`` the mean with what is seen in the mirrored crops.

    That mean is what the released evaluation takes.
    """
    joints = _run(backend, crops)
    if flip_pairs is None:
        return joints
    mirrored = volume.mirrored(_run(backend, crops[:, :, ::-1]), flip_pairs)
    return np.asarray((joints + mirrored) / 2)


def _run(backend: Backend, crops: NDArray[np.uint8]) -> Array:
    return backend.run(network_input(backend, crops)).astype(np.float64)
