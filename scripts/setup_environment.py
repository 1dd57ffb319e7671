"""Make the project's environment, or finish it. ``make`` runs this with a Python that has nothing installed.

    python3 -m scripts.setup_environment [--extra dev] [--torch-index URL]

``uv`` makes it where that is installed, else ``python -m venv``. Where ``ensurepip`` is missing, ``virtualenv`` makes
it, or a pip outside the environment installs one into it.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USERS = ("report", "fleet", "openvino", "tensorrt-rtx")
"""The extras that everybody gets."""
UNFINISHED = ".unfinished"
"""A file in the environment while something is installed; it stays if that is killed. The Makefile names it, too."""
DRIVER = Path("/proc/driver/nvidia/version")
RTX_GLIBC = (2, 35)
"""The oldest C library that TensorRT-RTX loads with on aarch64."""


class SetupError(Exception):
    """A set-up that cannot go on; the text says what to do."""


class Killed(Exception):
    """A command that a signal ended; it may have left half of its work."""


def main(words: Sequence[str] | None = None) -> int:
    """Make or finish the environment, and return the exit code."""
    parser = argparse.ArgumentParser(prog="setup_environment", description="Make .venv, or finish it.")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv")
    parser.add_argument("--extra", help="install this extra of pyproject.toml, not those for users")
    parser.add_argument("--torch-index", metavar="URL", help="take PyTorch from this package index")
    options = parser.parse_args(words)
    environment = options.environment.resolve()  # venv refuses a link
    started, uv = time.monotonic(), find_uv()
    try:
        if reason := trouble(environment):
            make(environment, uv, reason)
        install = Installer(environment, uv)
        if options.extra:
            say(f"installing what {options.extra} needs")
            install.require("--editable", f".[{options.extra}]")
        else:
            install_for_users(install, options.torch_index)
    except (SetupError, Killed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say(f"{environment.name} is ready after {time.monotonic() - started:.0f} s")
    return 0


def trouble(environment: Path) -> str:
    """Return why the environment must be replaced; empty if it can be finished."""
    if not environment.exists():
        return "there is none"
    if (environment / UNFINISHED).exists():
        return "an earlier set-up was interrupted"
    code = "import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)"
    if exit_code(interpreter(environment), "-c", code) != 0:
        return "its Python does not run, or is older than 3.11"
    for package in environment.glob("lib/python3*/site-packages/*.dist-info"):
        if not (package / "RECORD").exists():
            return f"{package.name} is incomplete"
    return ""


def make(environment: Path, uv: str | None, reason: str) -> None:
    """Make an empty environment; remove what is there.

    Raises:
        SetupError: this Python cannot make one.
    """
    environment.mkdir(exist_ok=True)
    (environment / UNFINISHED).touch()
    for path in environment.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()
    for tool, commands in makers(environment, uv).items():
        say(f"making {environment.name} with {tool} ({reason})")
        try:
            for command in commands:
                run(*command)
        except SetupError as error:
            reason = str(error).splitlines()[0]
        else:
            return
    raise SetupError(
        f"no environment can be made: {reason}\n"
        f"try: install one of uv, virtualenv, or what {sys.executable} lacks (Debian, Ubuntu: apt install python3-venv)"
    )


def makers(environment: Path, uv: str | None) -> dict[str, list[list[str]]]:
    """Return the tools of this machine that make environments, in the order to try them, with their commands."""
    python = sys.executable
    tools: dict[str, list[list[str]]] = {}
    if uv:
        tools["uv"] = [[uv, "venv", "--quiet", "--allow-existing", "--python", python, str(environment)]]
    if find_spec("ensurepip"):
        tools["venv"] = [[python, "-m", "venv", str(environment)]]
    if virtualenv := shutil.which("virtualenv"):
        tools["virtualenv"] = [[virtualenv, "--quiet", "--python", python, str(environment)]]
    if find_spec("pip"):
        outside = [python, "-m", "pip", "--python", interpreter(environment)]
        install = [*outside, "install", "--quiet", "--disable-pip-version-check", "pip"]
        tools["venv, and pip from outside"] = [[python, "-m", "venv", "--without-pip", str(environment)], install]
    return tools


class Installer:
    """Installation into an environment, with progress where a terminal shows it."""

    def __init__(self, environment: Path, uv: str | None) -> None:
        python = interpreter(environment)
        if not uv and exit_code(python, "-m", "pip", "--version") != 0:
            run(python, "-m", "ensurepip")
        self._unfinished = environment / UNFINISHED
        command = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        self._command = [*command, *quiet, "--constraint", str(ROOT / "constraints.txt")]

    def require(self, *words: str) -> None:
        """Install.

        An installer that ends by itself leaves whole packages, also when it fails; one that is killed does not.

        Raises:
            SetupError: the installer failed.
        """
        self._unfinished.touch()
        try:
            run(*self._command, *words)
        except SetupError:
            self._unfinished.unlink()
            raise
        self._unfinished.unlink()


def install_for_users(install: Installer, torch_index: str | None) -> None:
    """Install what the commands use; TensorRT only where there is an NVIDIA driver."""
    extras = [name for name in USERS if name != "tensorrt-rtx" or not too_old_for_rtx()]
    say(f"installing PyTorch, ONNX, ONNX Runtime and {', '.join(extras)}")
    say("to download: 0.8 GB with PyTorch for the CPU, 3.3 GB with PyTorch for CUDA")
    if torch_index:
        say(f"PyTorch comes from {torch_index}")
        install.require("--index-url", torch_index, "--no-deps", "torch")
    elif sys.platform == "linux" and not DRIVER.exists():
        say("no NVIDIA driver was found; TORCH_INDEX=URL (PyTorch's index for the CPU) leaves out the CUDA packages")
    install.require("--editable", f".[{','.join(extras)}]")
    if DRIVER.exists():
        try:
            install.require("--editable", ".[tensorrt]")
        except SetupError:
            say("notice: tensorrt could not be installed; engines are built with TensorRT-RTX instead")


def too_old_for_rtx() -> bool:
    """Return whether this is Linux on aarch64 with a C library that TensorRT-RTX does not load with."""
    if sys.platform != "linux" or platform.machine() != "aarch64":
        return False
    name, version = platform.libc_ver()
    return name != "glibc" or tuple(map(int, version.split(".")[:2])) < RTX_GLIBC


def find_uv() -> str | None:
    """Return the path of a uv that runs."""
    uv = shutil.which("uv")
    return uv if uv and exit_code(uv, "--version") == 0 else None


def interpreter(environment: Path) -> str:
    """Return the path of the environment's Python."""
    return str(environment / "bin/python")


def run(*command: str) -> None:
    """Run a command in the project's folder, with its output on stderr.

    Raises:
        SetupError: it failed.
        Killed: a signal ended it.
    """
    code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    if code != 0:
        problem = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        error = SetupError if code > 0 else Killed
        raise error(
            f"this {problem}: {' '.join(map(str, command))}\ntry: the same again; its output above has the reason"
        )


def exit_code(*command: str) -> int:
    """Return the exit code of a command without its output; 127 if it does not run."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except OSError:
        return 127


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
