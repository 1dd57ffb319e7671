"""Options of several commands."""

from typing import Annotated

import typer

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
Runtime = Annotated[
    str | None,
    typer.Option(
        help="onnxruntime, openvino, pytorch (the reference), tensorrt, tensorrt-rtx, …; by default a working one."
    ),
]
Precision = Annotated[str, typer.Option(metavar="fp32|fp16-pixels|…", help="The exported file to run.")]

Batches = Annotated[str, typer.Option(metavar="MIN,OPT,MAX", help="Batch sizes of an engine.")]
Targets = Annotated[str | None, typer.Option(metavar="8.6,8.9", help="Compute capabilities for TensorRT-RTX.")]
WorkspaceMib = Annotated[int, typer.Option(help="Scratch memory of an engine in MiB.")]
EngineRuntime = Annotated[
    str,
    typer.Option(metavar="auto|tensorrt|tensorrt-rtx", help="The builder of engines; by default one that works here."),
]
OptimizationLevel = Annotated[int, typer.Option(help="Effort of TensorRT's search for kernels, 0 to 5.")]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let fp32 engines multiply with 10 bits of mantissa.")]
TimingCache = Annotated[
    str,
    typer.Option(metavar="auto|none|DIR", help="Folder of TensorRT's timing caches; auto: beside the engine."),
]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="Engines for all Ampere and newer GPUs (TensorRT; slower).")
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="Engines that later versions also load (TensorRT; slower).")
]
