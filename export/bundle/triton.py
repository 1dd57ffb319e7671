"""A model repository for NVIDIA's Triton Inference Server, for more requests than one device serves.

``cpu/`` is complete: ONNX Runtime's backend runs every file that it can run on a processor. ``gpu/`` has the same
models for the TensorRT backend, with plans that have to be built on the server that runs them. The models are the
graphs with the input format ``uint8``: no client can normalise pixels wrongly, a quarter of the bytes goes to the GPU,
and the proven file is served.
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from export.bundle.build_script import trtexec_script
from export.bundle.contents import Contents, choose_contents, pixel_variants
from export.bundle.manifest import list_files
from export.bundle.output import require_replaceable, whole_folder
from export.bundle.text import describe_origin, fill_template
from export.checkpoint.records import ArchitectureRecord
from export.common.files import apply_umask, require_writable
from export.common.interface import INPUT, OUTPUT
from export.engine.plan import EnginePlan
from export.pipeline.manifest import Artifact
from export.pipeline.recipe import recipe_of

SCHEMA_VERSION = "1.1"
KIND, RECORD, SCRIPT = "triton-repository", "about.json", "build-gpu.sh"
START_ON_CPU = "tritonserver --model-repository=$PWD/cpu              # ONNX Runtime on the processor\n"

NOT_ON_CPU = ("bf16",)
"""ONNX Runtime has no such convolution on a processor."""

QUEUE_DELAY_US = 1000
"""Longest time that a request waits for others to share a batch: an eighth of the 8 ms that S took on two cores."""

ABOUT_SCRIPT = """\
# Writes every model.plan of gpu/ with trtexec, on the server that will run them: sh build-gpu.sh [fp16 int8 …]
#
# It builds from the ONNX files of this folder. TRTEXEC=path names another trtexec; TENSORRT_MAJOR=10 or 11 is for one
# that prints no version. layers/ gets the types that the layers of each plan compute in."""
ENTER_FOLDER = 'cd "$folder"\nmkdir -p layers'


@dataclass(frozen=True)
class ServedModel:
    """One precision as clients see it."""

    name: str
    artifact: Artifact
    """The file that runs."""

    @property
    def on_cpu(self) -> bool:
        """True if ONNX Runtime runs it on a processor."""
        return self.artifact.precision not in NOT_ON_CPU

    @property
    def path(self) -> str:
        """Path of its ONNX file in the repository."""
        return f"cpu/{self.name}/1/model.onnx" if self.on_cpu else self.artifact.path


@dataclass(frozen=True)
class Repository:
    """A repository that was written."""

    folder: Path
    cpu: tuple[str, ...]
    """Models for clients of a server without a GPU."""
    gpu: tuple[str, ...]


def write_triton(export: Path, out: Path, precisions: tuple[str, ...] | None, plan: EnginePlan) -> Repository:
    """Write ``out/<MODEL>-triton``; an older one is replaced.

    Raises:
        BadInput: no export, a precision that it lacks or has no graph with uint8 input of, or ``out`` cannot be written
            or holds something else.
        CheckFailed: a file is not proven.
    """
    contents = choose_contents(export, precisions)
    place = out / f"{contents.model}-triton"
    require_replaceable(place, RECORD, KIND)
    require_writable(out)
    models = [ServedModel(f"{contents.model}-{a.precision}", a) for a in pixel_variants(contents)]
    with whole_folder(place) as folder:
        for side in ("cpu", "gpu"):
            served = [model for model in models if model.on_cpu or side == "gpu"]
            _write_side(folder / side, contents, served, plan.batch_max)
        for model in models:
            (folder / model.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(contents.folder / model.artifact.path, folder / model.path)
        recipes = [
            replace(
                recipe_of(model.artifact, plan),
                onnx=model.path,
                trtexec_engine=f"gpu/{model.name}/1/model.plan",
                layers=f"layers/{model.name}.json",
            )
            for model in models
        ]
        (folder / SCRIPT).write_text(trtexec_script(SCRIPT, ABOUT_SCRIPT, ENTER_FOLDER, recipes), encoding="utf-8")
        apply_umask(folder / SCRIPT, executable=True)
        (folder / "README.md").write_text(_readme(contents, models), encoding="utf-8")
        record = {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "model": contents.model,
            "weights": contents.manifest.weights.model_dump(include={"origin", "sha256"}),
            "files": [file.model_dump() for file in list_files(folder)],
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Repository(place, tuple(m.name for m in models if m.on_cpu), tuple(m.name for m in models))


def _write_side(folder: Path, contents: Contents, models: list[ServedModel], max_batch: int) -> None:
    """Write the configurations of ``cpu/`` or ``gpu/``."""
    for model in models:
        version = folder / model.name / "1"
        version.mkdir(parents=True)
        config = model_config(model.name, contents.manifest.architecture, max_batch, on_gpu=folder.name == "gpu")
        (folder / model.name / "config.pbtxt").write_text(config, encoding="utf-8")
        if folder.name == "gpu":
            (version / "README.md").write_text(f"`{SCRIPT}` writes `model.plan` here, on the server.\n")


def model_config(name: str, network: ArchitectureRecord, max_batch: int, *, on_gpu: bool) -> str:
    """Return ``config.pbtxt``, a model's description for Triton, as text of its schema ``model_config.proto``.

    It asks for dynamic batching. The smallest and the largest batch run before the first request.
    """
    backend, kind = ("tensorrt", "KIND_GPU") if on_gpu else ("onnxruntime", "KIND_CPU")
    image = f"data_type: TYPE_UINT8 dims: [ {network.input_size}, {network.input_size}, 3 ]"
    joints = f"data_type: TYPE_FP32 dims: [ {network.joints}, 3 ]"
    warm_up = ",\n  ".join(
        f'{{ name: "batch of {size}" batch_size: {size} '
        f'inputs {{ key: "{INPUT}" value: {{ {image} zero_data: true }} }} }}'
        for size in dict.fromkeys((1, max_batch))
    )
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {max_batch}\n'
        f'input [ {{ name: "{INPUT}" {image} }} ]\noutput [ {{ name: "{OUTPUT}" {joints} }} ]\n'
        f"instance_group [ {{ kind: {kind} count: 1 }} ]\n"
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}\n"
        f"model_warmup [\n  {warm_up}\n]\n"
    )


def _readme(contents: Contents, models: list[ServedModel]) -> str:
    values = {
        "MODEL": contents.model,
        "ORIGIN": describe_origin(contents.manifest.weights.origin),
        "SIZE": contents.manifest.architecture.input_size,
        "CPU": START_ON_CPU if any(model.on_cpu for model in models) else "",
    }
    return fill_template("triton.md", values)
