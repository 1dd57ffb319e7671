"""What the commands of this folder share: threads that leave room for others, and failures told in words."""

import argparse
import sys
from collections.abc import Callable

import cv2
import torch

from demo.cores import SharedCores
from export.common.errors import Failure


def shared_cores(options: argparse.Namespace) -> SharedCores | None:
    """Set ``--threads`` and return None; left out, what gives cores up while others compute."""
    cv2.setNumThreads(1)  # its operations are too small to be shared out
    if options.threads:
        torch.set_num_threads(options.threads)
        return None
    return SharedCores(torch.get_num_threads())


def run(main: Callable[[], int]) -> None:
    """End the process with what ``main`` returns, or with the exit code of its failure."""
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
