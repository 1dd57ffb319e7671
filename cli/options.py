"""Options that several commands share, with one wording."""

from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=N", help="For upsamplings, joints, depth_dim, input_size."),
]
Strict = Annotated[bool, typer.Option("--strict", help="End with exit 1 where the checkpoint is not as declared.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")]
Runtime = Annotated[str, typer.Option(help="What runs the model: onnxruntime, openvino or pytorch (the reference).")]
