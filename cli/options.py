"""Options that several commands share, with one wording."""

from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=N", help="For upsamplings, joints, depth_dim, input_size."),
]
Strict = Annotated[bool, typer.Option("--strict", help="End with exit 1 where the checkpoint is not as declared.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        help="onnxruntime, openvino, pytorch (the reference), tensorrt, tensorrt-rtx, …; by default what runs it here."
    ),
]
Precision = Annotated[str, typer.Option(metavar="fp32|fp16-pixels|…", help="Which of the exported files is run.")]

Batches = Annotated[str, typer.Option(metavar="MIN,OPT,MAX", help="The batches that an engine takes.")]
Targets = Annotated[
    str | None, typer.Option(metavar="8.6,8.9", help="Compute capabilities that TensorRT-RTX builds for.")
]
WorkspaceMib = Annotated[int, typer.Option(help="Scratch memory that an engine may use, in MiB.")]
EngineRuntime = Annotated[
    str,
    typer.Option(metavar="auto|tensorrt|tensorrt-rtx", help="What builds engines; by default what can do it here."),
]
OptimizationLevel = Annotated[int, typer.Option(help="How long TensorRT looks for kernels, 0 to 5.")]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let engines of fp32 multiply with 10 bits of mantissa.")]
TimingCache = Annotated[
    str,
    typer.Option(
        metavar="auto|none|DIR", help="Where TensorRT keeps what it learns of a GPU; auto: beside the engine."
    ),
]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="Engines for all Ampere and newer GPUs (TensorRT; slower).")
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="Engines that later versions load, too (TensorRT; slower).")
]
