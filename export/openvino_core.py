"""OpenVINO, opened once."""

from functools import cache
from typing import Any


@cache
def openvino_core() -> Any:
    """This process's one ``openvino.Core``, kept until it ends.

    Its CPU plug-in (2026.4.1) gives the thread that loads it another stack for signals, and takes that away when it
    goes. If it goes by another thread, the first one keeps an address where nothing lies any more, and the next signal
    that it handles, such as Ctrl-C, ends the process by SIGSEGV. A core that is kept keeps the plug-in.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return openvino.Core()
