"""Errors that end a command; the runtime package defines them, since a bundle ships it."""

from export.runtime.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible

__all__ = ["BadInput", "CheckFailed", "Failure", "Inconclusive", "NotPossible"]
