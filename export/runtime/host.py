"""Expectations of libraries about the system: variables, a home folder, a user's name, a folder for temporary files."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from .errors import NotPossible

TEMPORARY_PREFIX = "convnextpose-run-"
"""Prefix of folders for temporary files, by which the leftovers of a killed run are found, and no other's."""
NO_HOME = "/nonexistent"
"""Home of users that have none, as Debian has it: a shared folder could hold another user's settings."""


def require_temporary_folder() -> Path:
    """Return the folder for temporary files.

    Raises:
        NotPossible: none can be written.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        advice = "set TMPDIR to a folder that you may write to"
        raise NotPossible("there is no folder for temporary files", error.strerror or str(error), advice) from error


def prepare_environment() -> None:
    """Set variables that libraries read when they are imported, unless the user has set them.

    HOME and USER are set where the system knows neither, as for a user id without an entry in the user database:
    OpenVINO cannot be imported without a home folder, and torch's compiler asks for the name. ONNX Runtime 1.31.1
    has telemetry, which begins when it is imported; its variable turns that off.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        Path.home()
    except (RuntimeError, KeyError):
        os.environ["HOME"] = NO_HOME
    try:
        getpass.getuser()
    except (ImportError, KeyError, OSError):
        os.environ["USER"] = "unknown"
