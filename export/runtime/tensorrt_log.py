"""The log of TensorRT, which has the reasons of its refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tensorrt_api import Enumerator, ILogger, TensorRT

NOISE = "cudaError 35"
"""Without a driver most errors are followed by this one; it says nothing about the model."""


def make_logger(trt: TensorRT, errors: list[str], listen: Callable[[str], object] = lambda text: None) -> ILogger:
    """Return a logger that adds errors to ``errors``, and calls ``listen`` for all lines of at least INFO."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Enumerator, text: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                errors.append(text)
            if int(severity) <= int(trt.ILogger.INFO):
                listen(f"{severity.name} {text}")

    return Logger()


@lru_cache(maxsize=None)
def logger_of(trt: TensorRT) -> tuple[ILogger, list[str]]:
    """Return this process's one logger of the library, which ignores a second, and the list of its errors."""
    errors: list[str] = []
    return make_logger(trt, errors), errors


def relevant(errors: list[str]) -> str:
    """Return the errors without noise, or all of them if there are no others."""
    return "; ".join([error for error in errors if NOISE not in error] or errors) or "no error in the log"
