"""Errors that a user is told about; the runtime package defines them, since a bundle ships it."""

from export.runtime.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible

__all__ = ["BadInput", "CheckFailed", "Failure", "Inconclusive", "NotPossible"]
