"""Commands that build and time engines on the device: ``recipe.md``.

TensorRT tunes on the GPU that it builds for, so an engine for a Jetson can only be built there. The recipe holds the
exact commands for ``trtexec`` of TensorRT 10 and 11, which differ in their defaults, and for this project's builder.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from export.common.errors import BadInput
from export.common.files import write_text
from export.common.interface import INPUT
from export.engine.plan import EnginePlan
from export.parity.budgets import PASS, WITHIN_ROUNDING
from export.pipeline.manifest import Artifact, Manifest
from export.runtime.engine_file import TENSORRT

FILE = "recipe.md"
PROVEN = tuple(f"parity {status}" for status in (PASS, WITHIN_ROUNDING))
MAJORS = (10, 11)

WARM_UP_MS, SECONDS, ITERATIONS = 1000, 10, 100
"""Longer than trtexec's 200 ms and 3 s: a Jetson takes a second to raise its clocks."""
PERCENTILES = (50, 90, 99)

GRAPH_SWITCHES = ("--useSpinWait", "--useCudaGraph")
TRANSFER_SWITCHES: dict[str, dict[int, tuple[str, ...]]] = {
    "gpu": {10: ("--noDataTransfers",), 11: ("--noDataTransfers",)},
    "host": {10: (), 11: ("--includeDataTransfers",)},
}
"""Boundary → TensorRT version → switches. Up to TensorRT 10, trtexec copies inputs and outputs, blocks, and launches
kernel by kernel; since 11 it does none of the three. With these switches both measure the same: one CUDA graph a
launch, with a spinning wait. TensorRT 11 accepts the switches of 10 without effect, since they are its defaults.
"""

UNSURE_OPSET = 22
"""First opset that was not tried with the parser of TensorRT 10.3 (JetPack 6)."""

PREFACE = """\
Run these commands in this folder, on the device that will run the engine: TensorRT tunes on its GPU, and an engine of
another GPU or another version does not load. The types in the ONNX file set the precision; add no switch for it on the
command line (no `--fp16`, no `--best`). TensorRT 10 needs `--stronglyTyped` to keep the types; 11 always keeps them.

`trtexec` comes with TensorRT's packages, not with its wheels; JetPack has it in `/usr/src/tensorrt/bin`. Up to
TensorRT 10 it copies input and output, blocks while it waits, and launches kernel by kernel; since 11 it does none of
the three. The timing commands make both measure the same: `gpu` is computing alone, `host` includes the copies. On 11
`--useSpinWait`, `--useCudaGraph` and `--noDataTransfers` have no effect, since they are its defaults; they are there to
document the measurement. Never compare runs of default settings across the two versions.

None of these commands ran where this file was written. Before timing, fix the clocks and write down how (on a Jetson,
`sudo nvpmodel -q` shows the power mode, and `sudo jetson_clocks` fixes the clocks).

```sh
mkdir -p engines
```
"""


@dataclass(frozen=True)
class Timing:
    """One measurement of one batch size."""

    batch: int
    boundary: str
    """``gpu``: computing alone; ``host``: with copies of input and output."""
    trtexec: dict[str, tuple[str, ...]]
    """TensorRT major version → command."""


@dataclass(frozen=True)
class ModelRecipe:
    """Commands for one ONNX file, to be run in the folder of the manifest."""

    precision: str
    onnx: str
    onnx_sha256: str
    notes: tuple[str, ...]
    """Remarks on the build."""
    engine: str
    """Output of this project's builder, with a record beside it; this project runs only such engines."""
    python: tuple[str, ...]
    trtexec_engine: str
    trtexec: dict[str, tuple[str, ...]]
    layers: str
    """The file in which ``trtexec`` describes the layers of its engine."""
    prove: tuple[str, ...]
    """The command that compares this file with the precision, as this project's builder does by itself."""
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Recipe:
    """Commands for all ONNX files of an export."""

    model: str
    weights_origin: str
    models: tuple[ModelRecipe, ...]


def recipe_of(manifest: Manifest, plan: EnginePlan) -> Recipe:
    """Return the recipe for every ONNX file that passed its parity; ``plan`` has batches, workspace and TF32.

    Raises:
        BadInput: a file has a fixed batch that is not the plan's.
    """
    files = [artifact for artifact in manifest.artifacts if artifact.kind == "onnx" and artifact.status in PROVEN]
    models = tuple(_model(artifact, plan) for artifact in files)
    return Recipe(manifest.model, manifest.weights.origin, models)


def write_recipe(folder: Path, recipe: Recipe) -> Path | None:
    """Write the page, unless it has this content already; return its path.

    If no file is proven there is none, and an earlier one is removed.
    """
    path = folder / FILE
    if not recipe.models:
        path.unlink(missing_ok=True)
        return None
    text = as_markdown(recipe)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
    return path


def as_markdown(recipe: Recipe) -> str:
    """Return the recipe as Markdown."""
    return "\n".join(_lines(recipe)) + "\n"


def _model(artifact: Artifact, options: EnginePlan) -> ModelRecipe:
    plan = _device_plan(options, artifact.precision)
    batches = (plan.batch_min, plan.batch_opt, plan.batch_max)
    batch, *sizes = artifact.inputs[0].shape
    if isinstance(batch, int) and {batch} != set(batches):
        values = f"{batch}; requested {batches} (min, opt, max)"
        raise BadInput(f"the batch of {artifact.path} is fixed", values, f"pass --batches {batch},{batch},{batch}")
    low, best, high = ((size, *(int(side) for side in sizes)) for size in batches)
    stem = Path(artifact.path).stem
    name, layers = f"engines/{stem}.trtexec.engine", f"engines/{stem}.trtexec.layers.json"
    build = {
        str(major): (
            "trtexec",
            f"--onnx={artifact.path}",
            *(("--stronglyTyped",) if major < 11 else ()),
            *(() if plan.tf32 else ("--noTF32",)),
            *(f"--{which}Shapes={_shape(shape)}" for which, shape in (("min", low), ("opt", best), ("max", high))),
            f"--memPoolSize=workspace:{plan.workspace_bytes / 2**20:g}",
            f"--builderOptimizationLevel={plan.optimization_level}",
            *(("--hardwareCompatibilityLevel=ampere+",) if plan.hardware_compatible else ()),
            *_version_switch(plan),
            "--profilingVerbosity=detailed",
            f"--exportLayerInfo={layers}",
            f"--saveEngine={name}",
            "--skipInference",
        )
        for major in MAJORS
    }
    engine = f"engines/{stem}{TENSORRT.suffix}"
    return ModelRecipe(
        precision=artifact.precision,
        onnx=artifact.path,
        onnx_sha256=artifact.sha256,
        notes=tuple(_notes(artifact, plan)),
        engine=engine,
        python=_python(artifact, engine, plan),
        trtexec_engine=name,
        trtexec=build,
        layers=layers,
        prove=_prove(artifact, layers, plan),
        timings=tuple(
            _timing(name, stem, (size, *low[1:]), boundary, plan)
            for size in sorted(set(batches))
            for boundary in TRANSFER_SWITCHES
        ),
    )


def _device_plan(plan: EnginePlan, precision: str) -> EnginePlan:
    """Return the same build by TensorRT, without paths of this machine."""
    return replace(plan, runtime=TENSORRT.option, targets=None).in_precision(precision)


def _notes(artifact: Artifact, plan: EnginePlan) -> Iterator[str]:
    if (opset := artifact.details.get("opset", 0)) >= UNSURE_OPSET:
        yield f"The file has opset {opset}, which was not tried with TensorRT 10.3 (JetPack 6)."
    if plan.hardware_compatible:
        yield "NVIDIA does not support `--hardwareCompatibilityLevel` on JetPack: leave it out on a Jetson."


def _version_switch(plan: EnginePlan) -> tuple[str, ...]:
    """Return the switch that building and loading a version compatible engine needs: it holds code for the host."""
    return ("--versionCompatible",) if plan.version_compatible else ()


def _python(artifact: Artifact, engine: str, plan: EnginePlan) -> tuple[str, ...]:
    settings = ", ".join(f"{name}={_literal(value)}" for name, value in asdict(plan).items())
    code = (
        "from pathlib import Path; from export.engine.build import build_engine; "
        "from export.engine.plan import EnginePlan; "
        f"print(build_engine(Path({_literal(artifact.path)}), Path({_literal(engine)}), EnginePlan({settings})).status)"
    )
    return ("python", "-c", code)


def _prove(artifact: Artifact, layers: str, plan: EnginePlan) -> tuple[str, ...]:
    nodes = artifact.details.get("nodes", {})
    in_fp32 = sum(conv["precision"] == "fp32" for conv in artifact.details.get("plan", {}).get("convs", ()))
    counts = f"Convolutions({nodes.get('Conv', 0)}, {nodes.get('QuantizeLinear', 0)}, {in_fp32})"
    code = (
        "from pathlib import Path; from export.engine.layers import prove_layers; "
        "from export.runtime.engine_network import Convolutions; "
        f"print(prove_layers(Path({_literal(layers)}), {_literal(artifact.precision)}, "
        f"tf32={plan.tf32}, convolutions={counts}).types)"
    )
    return ("python", "-c", code)


def _literal(value: object) -> str:
    """Return a Python literal, with double quotes for the shell."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _timing(engine: str, stem: str, shape: tuple[int, ...], boundary: str, plan: EnginePlan) -> Timing:
    commands = {
        str(major): (
            "trtexec",
            f"--loadEngine={engine}",
            *_version_switch(plan),
            f"--shapes={_shape(shape)}",
            *GRAPH_SWITCHES,
            *TRANSFER_SWITCHES[boundary][major],
            f"--warmUp={WARM_UP_MS}",
            f"--duration={SECONDS}",
            f"--iterations={ITERATIONS}",
            "--infStreams=1",
            f"--percentile={','.join(map(str, PERCENTILES))}",
            f"--exportTimes=engines/{stem}-b{shape[0]}-{boundary}.times.json",
        )
        for major in MAJORS
    }
    return Timing(shape[0], boundary, commands)


def _shape(shape: Sequence[int]) -> str:
    """Return ``image:1x3x256x256`` for ``(1, 3, 256, 256)``."""
    return f"{INPUT}:{'x'.join(map(str, shape))}"


def _lines(recipe: Recipe) -> Iterator[str]:
    yield f"# {recipe.model}: building and timing engines on the device"
    yield ""
    yield f"Weights: {recipe.weights_origin}."
    yield from PREFACE.splitlines()
    for model in recipe.models:
        yield from _model_lines(model)


def _model_lines(model: ModelRecipe) -> Iterator[str]:
    yield ""
    yield f"## {Path(model.onnx).stem}"
    yield ""
    yield "Check that the file is the proven one:"
    yield from _shell(("echo", f"{model.onnx_sha256}  {model.onnx}"), "| sha256sum --check")
    for note in model.notes:
        yield ""
        yield note
    yield ""
    yield f"With this project installed on the device; it also writes a record of `{model.engine}`,"
    yield "which `predict --runtime tensorrt` needs:"
    yield from _shell(model.python)
    for major, command in model.trtexec.items():
        yield ""
        yield f"With `trtexec` of TensorRT {major}:"
        yield from _shell(command)
    yield ""
    yield "Compare the types of the engine's layers with the file's precision (this project's builder does it itself):"
    yield from _shell(model.prove)
    for major in model.trtexec:
        yield ""
        yield f"Timing with TensorRT {major}:"
        yield ""
        yield "```sh"
        for timing in model.timings:
            yield f"# batch {timing.batch}, {timing.boundary}"
            yield shlex.join(timing.trtexec[major])
        yield "```"


def _shell(command: Sequence[str], then: str = "") -> Iterator[str]:
    yield ""
    yield "```sh"
    yield f"{shlex.join(command)} {then}".strip()
    yield "```"
