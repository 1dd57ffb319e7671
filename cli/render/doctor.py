"""Output of ``doctor``: the machine, and its capabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cli.console import out, table
from cli.render.text import safe
from export.common.plain import show_list
from export.runtime.processor import limit_note

if TYPE_CHECKING:
    from bench.machine.facts import Answer, Capability, Facts


def print_doctor(facts: "Facts", capabilities: Sequence["Capability"]) -> None:
    """Print the facts of the machine, and what it can do."""
    memory, disk, board = facts.memory.value, facts.disk.value, facts.jetson.value
    grid = table("machine", "")
    grid.add_row("system", f"{facts.system}, Python {facts.python}")
    grid.add_row("processor", f"{_value(facts.cpu)}, usable cores: {facts.cores}{limit_note(facts.cpu_limit)}")
    grid.add_row("", _value(facts.features, show_list(facts.features.value or ["no features that matter"])))
    memory_text = f"{memory[1] / 2**30:.1f} of {memory[0] / 2**30:.1f} GiB free" if memory else ""
    grid.add_row("memory", _value(facts.memory, memory_text))
    grid.add_row("disk", _value(facts.disk, f"{disk / 2**30:.1f} GiB free" if disk is not None else ""))
    grid.add_row("temporary files", _value(facts.temporary))
    for gpu in facts.gpus.value or ():
        size = f"compute capability {gpu.compute_capability}, {gpu.memory_bytes / 2**30:.1f} GiB"
        grid.add_row("GPU", escape(f"{gpu.name}, {size}, driver {_value(facts.driver)}"))
    if not facts.gpus.value:
        grid.add_row("GPU", f"none: {escape(facts.gpus.trouble or 'the driver sees none')}")
    if board or facts.jetson.trouble:
        grid.add_row("Jetson", _value(facts.jetson, f"{board.model}, L4T {board.l4t or 'unknown'}" if board else ""))
    if facts.gpus.value:
        grid.add_row("CUDA", _cuda(facts))
    for name, version in facts.packages.items():
        grid.add_row(name, version or "[yellow]not installed[/]")
        if several := facts.distributions.get(name):
            grid.add_row("", f"[yellow]installed by {', '.join(several)}: uninstall all of them, and install one[/]")
    out.print(grid)
    grid = table("name", "capability", "", "reason, and advice")
    for capability in capabilities:
        style = {"yes": "green", "no": "red"}.get(capability.available, "yellow")
        advice = "; ".join(text for text in (capability.reason, capability.advice) if text)
        available = f"[{style}]{capability.available}[/]"
        grid.add_row(capability.name, escape(capability.about), available, safe(advice))
    out.print("\n[bold]Capabilities[/]")
    out.print(grid)


def _cuda(facts: "Facts") -> str:
    """Return the CUDA of the driver, and that which each installed package is built for."""
    built = {
        "torch": facts.torch_cuda,
        "onnxruntime": facts.onnxruntime_cuda,
        "tensorrt": facts.tensorrt_cuda,
        "tensorrt-rtx": facts.tensorrt_rtx_cuda,
    }
    packages = [f"{name} {_value(answer)}" for name, answer in built.items() if facts.packages[name] is not None]
    return "; ".join([f"driver {_value(facts.driver_cuda)}", *packages])


def _value(answer: "Answer[Any]", text: str | None = None) -> str:
    """Return the value, or ``text`` in its place; the reason if there is no value."""
    if answer.value is None:
        return f"unknown: {safe(answer.trouble)}"
    return safe(str(answer.value) if text is None else text)
