"""Options of several commands."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command; its help shows no type behind flags."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, ``--help`` included."""
        return _without_flag_types(super().get_params(ctx))


class Group(TyperGroup):
    """Several commands; their help shows no type behind flags."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, ``--help`` included."""
        return _without_flag_types(super().get_params(ctx))


def _without_flag_types(parameters: Any) -> Any:
    for parameter in parameters:
        if getattr(parameter, "is_bool_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def lower(text: str | None) -> str | None:
    """Return an option's value in lower case: names of precisions and runtimes are."""
    return text and text.lower()


Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=N", help="Set upsamplings, joints, depth_dim or input_size."),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of the weights in a file with several networks; by default the averaged one."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if the checkpoint is not as declared.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print every table, not only the result.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        callback=lower,
        help="onnxruntime, openvino, pytorch (the reference), tensorrt, tensorrt-rtx, …; by default a working one.",
    ),
]
Precision = Annotated[str, typer.Option(metavar="fp32|fp16-pixels|…", callback=lower, help="The exported file to run.")]

JointNames = Annotated[bool, typer.Option("--names", help="Write the joints' names into the picture.")]

Batches = Annotated[str, typer.Option(metavar="MIN,OPT,MAX", help="Batch sizes of an engine.")]
Targets = Annotated[str | None, typer.Option(metavar="8.6,8.9", help="Compute capabilities for TensorRT-RTX.")]
WorkspaceMib = Annotated[int, typer.Option(help="Scratch memory of an engine in MiB.")]
EngineRuntime = Annotated[
    str,
    typer.Option(
        metavar="NAME", callback=lower, help="Builder of engines: tensorrt, tensorrt-rtx, or auto: one that works here."
    ),
]
OptimizationLevel = Annotated[int, typer.Option(help="Effort of TensorRT's search for kernels, 0 to 5.")]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let fp32 engines multiply with 10 bits of mantissa.")]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="Engines for all Ampere and newer GPUs (TensorRT; slower).")
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="Engines that later versions also load (TensorRT; slower).")
]
