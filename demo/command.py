"""Shared parts of the commands in this package: the number of threads, and errors without a traceback."""

import sys
from collections.abc import Callable

import cv2
import torch

from export.common.errors import Failure


def set_threads(threads: int | None) -> None:
    """Set torch's number of threads (None: its default); OpenCV uses one, since its operations here are small."""
    cv2.setNumThreads(1)
    if threads:
        torch.set_num_threads(threads)


def run(main: Callable[[], int]) -> None:
    """Exit with the code that ``main`` returns, or with that of its failure."""
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
