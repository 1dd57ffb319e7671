"""Which runtime builds engines on this machine, and why that one."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from export.common.errors import BadInput
from export.common.gpu import Gpu, default_gpu, jetson
from export.engine.plan import AUTO, BACKENDS, Backend, EnginePlan

IMPORT_SECONDS = 60


@dataclass(frozen=True)
class Choice:
    """The runtime that this machine can build with, or None; ``reason`` says why."""

    backend: Backend | None
    reason: str
    version: str = ""
    """What the library says of itself."""
    gpu: Gpu | None = None
    """The GPU that answers here, whether or not this runtime needs one."""
    no_gpu: str = ""
    """Why there is none."""

    @property
    def tunes_on(self) -> Gpu | None:
        """The GPU that engines are tuned on; None: they are compiled ahead of time."""
        tunes = self.backend is not None and not self.backend.takes_targets
        return self.gpu if tunes else None


def choose_runtime(wanted: str = AUTO) -> Choice:
    """TensorRT where it is installed and a GPU answers, else TensorRT-RTX where it is installed, else none.

    ``wanted`` is one of ``RUNTIMES``; only that one is looked at then.
    """
    gpu, no_gpu = default_gpu()
    said = [] if wanted == AUTO else [f"{wanted} was asked for"]
    for backend in BACKENDS.values():
        if wanted not in (AUTO, backend.name):
            continue
        if find_spec(backend.module) is None:
            said.append(f"{backend.module} is not installed")
        elif gpu is None and not backend.takes_targets:
            said.append(f"{backend.module} is installed, but {no_gpu}")
        else:
            version, trouble = library_version(backend.module)
            if version:
                here = f"{backend.module} is installed" + ("" if backend.takes_targets else f" and {gpu} answers")
                return Choice(backend, "; ".join([*said, here]), version, gpu, no_gpu)
            said.append(f"{backend.module} is installed, but does not load: {trouble}")
    return Choice(None, "; ".join(said), gpu=gpu, no_gpu=no_gpu)


@cache
def library_version(module: str) -> tuple[str, str]:
    """The version that the library gives itself, or nothing and why it does not load.

    pip's records do not tell: JetPack's library has none, and one that is there may be another package's. The library
    is asked in a child process, since it must not be loaded here.
    """
    command = [sys.executable, "-c", f"import {module}; print({module}.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "", f"importing it takes more than {IMPORT_SECONDS} s"
    if done.returncode != 0 or not done.stdout.strip():
        return "", (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return done.stdout.strip().splitlines()[-1], ""


def honoured(plan: EnginePlan, choice: Choice) -> EnginePlan:
    """The plan with the runtime's default targets, if the runtime can honour it, and would not go on without a word.

    Raises:
        BadInput: see ``EnginePlan.honoured_by``; or hardware compatible engines on a Jetson.
    """
    if choice.backend is None:
        return plan
    if plan.hardware_compatible and (board := jetson()) is not None:
        do = "leave it out: the engine is for this board only"
        raise BadInput("NVIDIA supports no hardware compatible engines on JetPack", board.model, do)
    return plan.honoured_by(choice.backend)
