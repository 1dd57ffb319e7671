"""The log of TensorRT: without it, a refusal has no reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tensorrt_api import Enumerator, ILogger, TensorRT

NOISE = "cudaError 35"
"""Without a driver most errors are followed by this one; it says nothing about the model."""


def make_logger(trt: TensorRT, errors: list[str], listen: Callable[[str], object] = lambda text: None) -> ILogger:
    """Return a logger that adds to ``errors``, and passes every line of at least INFO on."""

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
    """Return the process's only logger of this library, which keeps the first it is given, and the errors it got."""
    errors: list[str] = []
    return make_logger(trt, errors), errors


def relevant(errors: list[str]) -> str:
    """Return the errors that say something, or all of them if none does."""
    return "; ".join([error for error in errors if NOISE not in error] or errors) or "no error in the log"
