"""The packages of the extras in ``pyproject.toml``, and the commands that install them."""

from importlib import import_module

from export.common.errors import NotPossible

EXTRAS = {
    "altair": "report",
    "distributed": "fleet",
    "jinja2": "report",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "vl_convert": "report",
}
"""Module → the extra that installs it."""


def install_command(module: str) -> str:
    """Return the command that installs an extra's module in a version that this project supports."""
    return f"pip install 'convnextpose-deploy[{EXTRAS[module]}]'"


def missing(module: str) -> str:
    """Return the words for an extra's module that is not installed, with the command that installs it."""
    return f"{module} is not installed: {install_command(module)}"


def require_modules(user: str, *modules: str) -> None:
    """Check, by importing them, that modules of an extra are installed.

    Args:
        user: what needs them, as the subject of the error: ``a report``.
        modules: names of ``EXTRAS``.

    Raises:
        NotPossible: one is not installed, or does not load.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            detail = f"{module} is not installed" if error.name == module else str(error)
            advice = f"install it: {install_command(module)} (make setup does)"
            raise NotPossible(f"{user} needs {', '.join(modules)}", detail, advice) from error
