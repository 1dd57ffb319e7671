"""Choice of the library that builds engines on this machine, with the reason."""

import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

from export.common.errors import BadInput
from export.common.extras import install_command
from export.engine.plan import AUTO, DEFAULT_RTX_TARGETS, RUNTIMES, EnginePlan
from export.runtime.engine_file import PRODUCTS, Product
from export.runtime.gpu import Gpu, default_gpu, jetson

IMPORT_SECONDS = 60
TO_INSTALL = (
    f"{install_command('tensorrt_rtx')}, which needs no GPU; or {install_command('tensorrt')} where there is one"
)

IGNORED_SETTINGS = {
    "tensorrt": {"targets": "it builds for this machine's GPU only"},
    "tensorrt_rtx": {
        "hardware_compatible": "it warns and goes on; name GPUs with --targets",
        "version_compatible": "it has no runtime for other versions; build again for each",
        "optimization_level": "it times no kernels; engines of levels 0, 3 and 5 were the same size, as soon as built",
    },
}
"""Library → setting of a plan that it accepts and ignores → reason."""


@dataclass(frozen=True)
class Choice:
    """The library that this machine can build with, or None."""

    product: Product | None
    reason: str
    version: str = ""
    """Version that the library reports."""
    gpu: Gpu | None = None
    """This machine's GPU, whether or not the library needs one."""
    no_gpu: str = ""
    """The reason if there is none."""

    @property
    def tunes_on(self) -> Gpu | None:
        """The GPU that engines are tuned on; None: they are compiled ahead of time."""
        tunes = self.product is not None and not self.product.ahead_of_time
        return self.gpu if tunes else None


def choose_runtime(runtime: str = AUTO) -> Choice:
    """Choose TensorRT where it is installed and a GPU answers, else TensorRT-RTX where it is installed, else none.

    Args:
        runtime: one of ``RUNTIMES``; unless it is ``auto``, no other is considered.
    """
    gpu, no_gpu = default_gpu()
    reasons = [] if runtime == AUTO else [f"{runtime} was asked for"]
    for product in PRODUCTS.values():
        if runtime not in (AUTO, product.option):
            continue
        if find_spec(product.module) is None:
            reasons.append(f"{product.module} is not installed")
        elif gpu is None and not product.ahead_of_time:
            reasons.append(f"{product.module} is installed, but {no_gpu}")
        else:
            version, trouble = library_version(product.module)
            if version:
                answer = "" if product.ahead_of_time else f" and {gpu} answers"
                reasons.append(f"{product.module} is installed{answer}")
                return Choice(product, "; ".join(reasons), version, gpu, no_gpu)
            reasons.append(f"{product.module} is installed, but does not load: {trouble}")
    return Choice(None, "; ".join(reasons), gpu=gpu, no_gpu=no_gpu)


@cache
def library_version(module: str) -> tuple[str, str]:
    """Return the version that the library reports, or an empty one and the reason why it does not load.

    A child process imports the library, since this process must not. pip's records would not do: JetPack's library has
    none, and an existing record may belong to another package.
    """
    command = [sys.executable, "-c", f"import {module}; print({module}.__version__)"]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "", f"importing it takes more than {IMPORT_SECONDS} s"
    if child.returncode != 0 or not child.stdout.strip():
        return "", (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
    return child.stdout.strip().splitlines()[-1], ""


def complete_plan(plan: EnginePlan, choice: Choice) -> EnginePlan:
    """Return the plan with the library's default targets.

    Raises:
        BadInput: the library would ignore a setting; or hardware compatible engines on a Jetson.
    """
    product = choice.product
    if product is None:
        return plan
    if plan.hardware_compatible and (board := jetson()) is not None:
        advice = "leave it out: the engine is for this board only"
        raise BadInput("NVIDIA supports no hardware compatible engines on JetPack", board.model, advice)
    for name, reason in IGNORED_SETTINGS[product.module].items():
        value = getattr(plan, name)
        if value != getattr(EnginePlan, name):
            problem = f"{product.name} would ignore --{name.replace('_', '-')}"
            advice = f"leave it out, or choose another runtime: {', '.join(RUNTIMES[1:])}"
            raise BadInput(problem, f"{value}: {reason}", advice)
    return replace(plan, targets=plan.targets or DEFAULT_RTX_TARGETS) if product.ahead_of_time else plan
