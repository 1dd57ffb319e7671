"""Commands that build and time engines on the device: ``recipe.md``.

TensorRT tunes on the GPU that it builds for, so an engine for a Jetson can only be built there. The recipe holds the
exact commands for ``trtexec`` of TensorRT 10 and 11, which differ in their defaults, and for this project's builder.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.common.errors import BadInput
from export.common.files import write_text
from export.common.interface import INPUT
from export.common.program import PROGRAM
from export.engine.plan import EnginePlan
from export.parity.budgets import PASS, WITHIN_ROUNDING
from export.pipeline.layout import engine_path
from export.pipeline.manifest import Artifact, Manifest
from export.runtime.engine_file import TENSORRT

FILE = "recipe.md"
PROVEN = tuple(f"parity {status}" for status in (PASS, WITHIN_ROUNDING))
MAJORS = (10, 11)

BOUNDARIES = ("gpu", "host")
"""Computing alone, and with copies of input and output. Up to TensorRT 10, trtexec copies inputs and outputs, blocks,
and launches kernel by kernel; since 11 it does none of the three. The switches of ``ModelRecipe.time`` make both
measure the same: one CUDA graph a launch, with a spinning wait. TensorRT 11 accepts the switches of 10 without effect,
since they are its defaults.
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
class ModelRecipe:
    """Commands for one ONNX file, to be run in the folder of the paths."""

    artifact: Artifact
    plan: EnginePlan
    onnx: str
    trtexec_engine: str
    layers: str
    """The file in which ``trtexec`` describes the layers of its engine."""

    @property
    def engine(self) -> str:
        """Output of this project's builder, with a record beside it; this project runs only such engines."""
        return engine_path(self.onnx, TENSORRT)

    @property
    def batches(self) -> tuple[int, int, int]:
        """The smallest, usual and largest batch."""
        return self.plan.batch_min, self.plan.batch_opt, self.plan.batch_max

    @property
    def notes(self) -> list[str]:
        """Remarks on the build."""
        notes = []
        if (opset := self.artifact.details.get("opset", 0)) >= UNSURE_OPSET:
            notes.append(f"The file has opset {opset}, which was not tried with TensorRT 10.3 (JetPack 6).")
        if self.plan.hardware_compatible:
            notes.append("NVIDIA does not support `--hardwareCompatibilityLevel` on JetPack: leave it out on a Jetson.")
        return notes

    def build(self, major: int) -> tuple[str, ...]:
        """Return the build with ``trtexec`` of this major version of TensorRT."""
        plan = self.plan
        return (
            "trtexec",
            f"--onnx={self.onnx}",
            *(("--stronglyTyped",) if major < 11 else ()),
            *(() if plan.tf32 else ("--noTF32",)),
            *(f"--{size}Shapes={self._shape(n)}" for size, n in zip(("min", "opt", "max"), self.batches, strict=True)),
            f"--memPoolSize=workspace:{plan.workspace_bytes / 2**20:g}",
            f"--builderOptimizationLevel={plan.optimization_level}",
            *(("--hardwareCompatibilityLevel=ampere+",) if plan.hardware_compatible else ()),
            *self._version_switch(),
            "--profilingVerbosity=detailed",
            f"--exportLayerInfo={self.layers}",
            f"--saveEngine={self.trtexec_engine}",
            "--skipInference",
        )

    def build_with_record(self) -> tuple[str, ...]:
        """Return the build with this project's builder."""
        plan = self.plan
        return (
            *(PROGRAM, "engine", self.onnx, "--out", self.engine, "--engine-runtime", TENSORRT.option),
            *("--precision", plan.precision, "--batches", ",".join(map(str, self.batches))),
            *("--workspace-mib", str(plan.workspace_bytes >> 20)),
            *("--optimization-level", str(plan.optimization_level)),
            *(("--tf32",) if plan.tf32 else ()),
            *(("--hardware-compatible",) if plan.hardware_compatible else ()),
            *(("--version-compatible",) if plan.version_compatible else ()),
        )

    def prove(self) -> tuple[str, ...]:
        """Return the command that compares ``layers`` with the precision, as this project's builder does by itself."""
        details = self.artifact.details
        nodes, convolutions = details.get("nodes", {}), details.get("plan", {}).get("convs", ())
        in_fp32 = sum(convolution["precision"] == "fp32" for convolution in convolutions)
        code = (
            "from pathlib import Path; from export.engine.layers import prove_layers; "
            "from export.runtime.engine_network import Convolutions; "
            f"print(prove_layers(Path({json.dumps(self.layers)}), {json.dumps(self.plan.precision)}, "
            f"tf32={self.plan.tf32}, convolutions="
            f"Convolutions({nodes.get('Conv', 0)}, {nodes.get('QuantizeLinear', 0)}, {in_fp32})).types)"
        )
        return ("python", "-c", code)

    def time(self, batch: int, boundary: str, major: int) -> tuple[str, ...]:
        """Return the timing of one batch size within one of ``BOUNDARIES``; longer than trtexec's 200 ms and 3 s.

        A Jetson takes a second to raise its clocks.
        """
        copies = ("--includeDataTransfers",) if major >= 11 else ()
        return (
            "trtexec",
            f"--loadEngine={self.trtexec_engine}",
            *self._version_switch(),
            f"--shapes={self._shape(batch)}",
            *("--useSpinWait", "--useCudaGraph"),
            *(copies if boundary == "host" else ("--noDataTransfers",)),
            *("--warmUp=1000", "--duration=10", "--iterations=100", "--infStreams=1", "--percentile=50,90,99"),
            f"--exportTimes=engines/{Path(self.onnx).stem}-b{batch}-{boundary}.times.json",
        )

    def _version_switch(self) -> tuple[str, ...]:
        """Return the switch that building and loading a version compatible engine needs: it holds code for the host."""
        return ("--versionCompatible",) if self.plan.version_compatible else ()

    def _shape(self, batch: int) -> str:
        """Return ``image:1x3x256x256``."""
        return f"{INPUT}:{'x'.join(map(str, (batch, *self.artifact.inputs[0].shape[1:])))}"


def recipe_of(artifact: Artifact, plan: EnginePlan) -> ModelRecipe:
    """Return the recipe for an ONNX file; ``plan`` has batches, workspace and TF32.

    Raises:
        BadInput: it has a fixed batch that is not the plan's.
    """
    batch, stem = artifact.inputs[0].shape[0], Path(artifact.path).stem
    recipe = ModelRecipe(
        artifact,
        replace(plan, targets=None).in_precision(artifact.precision),
        onnx=artifact.path,
        trtexec_engine=f"engines/{stem}.trtexec.engine",
        layers=f"engines/{stem}.trtexec.layers.json",
    )
    if isinstance(batch, int) and {batch} != set(recipe.batches):
        values = f"{batch}; requested {recipe.batches} (min, opt, max)"
        raise BadInput(f"the batch of {artifact.path} is fixed", values, f"pass --batches {batch},{batch},{batch}")
    return recipe


def recipes_of(manifest: Manifest, plan: EnginePlan) -> list[ModelRecipe]:
    """Return the recipe for every ONNX file that passed its parity.

    Raises:
        BadInput: a file has a fixed batch that is not the plan's.
    """
    return [recipe_of(a, plan) for a in manifest.artifacts if a.kind == "onnx" and a.status in PROVEN]


def write_recipe(folder: Path, manifest: Manifest, plan: EnginePlan) -> Path | None:
    """Write the page, unless it has this content already; return its path.

    If no file is proven there is none, and an earlier one is removed.
    """
    path, recipes = folder / FILE, recipes_of(manifest, plan)
    if not recipes:
        path.unlink(missing_ok=True)
        return None
    text = "\n".join(_lines(manifest, recipes)) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
    return path


def _lines(manifest: Manifest, recipes: Iterable[ModelRecipe]) -> Iterator[str]:
    yield f"# {manifest.model}: building and timing engines on the device"
    yield f"\nWeights: {manifest.weights.origin}.\n"
    yield from PREFACE.splitlines()
    for recipe in recipes:
        yield f"\n## {Path(recipe.onnx).stem}"
        yield "\nCheck that the file is the proven one:"
        yield from _shell(f"echo '{recipe.artifact.sha256}  {recipe.onnx}' | sha256sum --check")
        yield from (f"\n{note}" for note in recipe.notes)
        yield f"\nWith this project installed on the device; it also writes a record of `{recipe.engine}`,"
        yield "which `predict --runtime tensorrt` needs:"
        yield from _shell(shlex.join(recipe.build_with_record()))
        for major in MAJORS:
            yield f"\nWith `trtexec` of TensorRT {major}:"
            yield from _shell(shlex.join(recipe.build(major)))
        yield "\nCompare the types of the engine's layers with the file's precision"
        yield "(this project's builder does so by itself):"
        yield from _shell(shlex.join(recipe.prove()))
        for major in MAJORS:
            yield f"\nTiming with TensorRT {major}:"
            timings = [(batch, boundary) for batch in sorted(set(recipe.batches)) for boundary in BOUNDARIES]
            yield from _shell(
                *(f"# batch {batch}, {end}\n{shlex.join(recipe.time(batch, end, major))}" for batch, end in timings)
            )


def _shell(*commands: str) -> Sequence[str]:
    return ("\n```sh", *commands, "```")
