"""A model repository for NVIDIA's Triton Inference Server, for more requests than one device serves.

``cpu/`` is complete: ONNX Runtime's backend runs every file that it can run on a processor. ``gpu/`` has the same
models for the TensorRT backend, with plans that have to be built on the server that runs them. In both, clients send
uint8 pixels, so that no client can normalise them wrongly. If the export has a graph with the input format ``uint8``,
that graph is the model: a quarter of the bytes goes to the GPU, one model is scheduled, and the proven file is served.
Otherwise the model is an ensemble of a small graph that normalises, on the processor, and the network.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.bundle.build_script import model_recipes, trtexec_script
from export.bundle.contents import Contents, choose_contents, pixel_variants
from export.bundle.manifest import list_files
from export.bundle.output import require_replaceable, whole_folder
from export.bundle.text import describe_origin, fill_template
from export.bundle.triton_config import Tensor, ensemble_config, model_config
from export.common.files import apply_umask, require_writable
from export.common.interface import INPUT, OUTPUT
from export.engine.plan import EnginePlan
from export.model.pose import MEAN, STD
from export.pipeline.manifest import Artifact
from export.pipeline.recipe import ModelRecipe

SCHEMA_VERSION = "1.1"
KIND, RECORD, SCRIPT = "triton-repository", "about.json", "build-gpu.sh"
PIXELS = "pixels"
START_ON_CPU = "tritonserver --model-repository=$PWD/cpu              # ONNX Runtime on the processor\n"

NOT_ON_CPU = ("bf16",)
"""ONNX Runtime has no such convolution on a processor."""

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
    takes_pixels: bool
    """True: the file's input is uint8 pixels; False: an ensemble normalises before it."""

    @property
    def network(self) -> str:
        """Name of the Triton model that holds the file."""
        return self.name if self.takes_pixels else f"{self.name}-network"

    @property
    def on_cpu(self) -> bool:
        """True if ONNX Runtime runs it on a processor."""
        return self.artifact.precision not in NOT_ON_CPU

    @property
    def path(self) -> str:
        """Path of its ONNX file in the repository."""
        return f"cpu/{self.network}/1/model.onnx" if self.on_cpu else self.artifact.path

    def recipe(self, recipe: ModelRecipe) -> ModelRecipe:
        """Return a recipe with the repository's paths; timings are not stored, since each plan is built once."""
        paths = {
            "--onnx": self.path,
            "--saveEngine": f"gpu/{self.network}/1/model.plan",
            "--exportLayerInfo": f"layers/{self.name}.json",
        }

        def switch(text: str) -> str:
            name, _, _ = text.partition("=")
            return f"{name}={paths[name]}" if name in paths else text

        commands = {major: tuple(map(switch, command)) for major, command in recipe.trtexec.items()}
        return replace(recipe, onnx=self.path, trtexec=commands)


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
        BadInput: no export, a precision that it lacks, or ``out`` cannot be written or holds something else.
        CheckFailed: a file is not proven.
    """
    contents = choose_contents(export, precisions)
    place = out / f"{contents.model}-triton"
    require_replaceable(place, RECORD, KIND)
    require_writable(out)
    uint8 = pixel_variants(contents)
    models = [
        ServedModel(f"{contents.model}-{a.precision}", uint8.get(a.precision, a), a.precision in uint8)
        for a in contents.onnx
    ]
    with whole_folder(place) as folder:
        for side in ("cpu", "gpu"):
            served = [model for model in models if model.on_cpu or side == "gpu"]
            _write_side(folder / side, contents, served, plan.batch_max)
        for model in models:
            (folder / model.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(contents.folder / model.artifact.path, folder / model.path)
        recipes = model_recipes(contents, [model.artifact for model in models], plan)
        recipes = tuple(model.recipe(recipe) for model, recipe in zip(models, recipes, strict=True))
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


def normalising_graph(size: int) -> bytes:
    """Return ``export.model.pose.normalise`` as an ONNX file: uint8 (N, S, S, 3) → float32 (N, 3, S, S), same bits."""
    make = onnx.helper.make_node
    nodes = [
        make("Cast", [PIXELS], ["floats"], to=TensorProto.FLOAT),
        make("Sub", ["floats", "mean"], ["centred"]),
        make("Div", ["centred", "std"], ["scaled"]),
        make("Transpose", ["scaled"], [INPUT], perm=[0, 3, 1, 2]),
    ]
    constants = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("mean", MEAN), ("std", STD))]
    pixels = onnx.helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["batch", size, size, 3])
    image = onnx.helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, size, size])
    graph = onnx.helper.make_graph(nodes, "normalise", [pixels], [image], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _write_side(folder: Path, contents: Contents, models: list[ServedModel], max_batch: int) -> None:
    """Write the configurations of ``cpu/`` or ``gpu/``, and the graph that normalises if an ensemble needs it."""
    architecture, on_gpu = contents.manifest.architecture, folder.name == "gpu"
    square = (architecture.input_size, architecture.input_size)
    image, joints = Tensor(INPUT, "FP32", (3, *square)), Tensor(OUTPUT, "FP32", (architecture.joints, 3))
    normalise, pixels = f"{contents.model}-preprocess", Tensor(PIXELS, "UINT8", (*square, 3))
    folder.mkdir()
    if not all(model.takes_pixels for model in models):
        version = _write_model(folder, normalise, model_config(normalise, max_batch, pixels, image, on_gpu=False))
        (version / "model.onnx").write_bytes(normalising_graph(architecture.input_size))
    for model in models:
        network_input = replace(pixels, name=INPUT) if model.takes_pixels else image
        config = model_config(model.network, max_batch, network_input, joints, on_gpu=on_gpu)
        version = _write_model(folder, model.network, config)
        if on_gpu:
            (version / "README.md").write_text(f"`{SCRIPT}` writes `model.plan` here, on the server.\n")
        if not model.takes_pixels:
            config = ensemble_config(model.name, max_batch, (pixels, image, joints), (normalise, model.network))
            version = _write_model(folder, model.name, config)
            (version / "README.md").write_text("An ensemble has no file of its own, but Triton needs this folder.\n")


def _write_model(folder: Path, name: str, config: str) -> Path:
    """Write a model's configuration; return the folder of its one version."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
    return version


def _readme(contents: Contents, models: list[ServedModel]) -> str:
    values = {
        "MODEL": contents.model,
        "ORIGIN": describe_origin(contents.manifest.weights.origin),
        "SIZE": contents.manifest.architecture.input_size,
        "CPU": START_ON_CPU if any(model.on_cpu for model in models) else "",
        "FORMS": "\n".join(_forms(contents, models)),
    }
    return fill_template("triton.md", values)


def _forms(contents: Contents, models: list[ServedModel]) -> Iterator[str]:
    """Yield lines that say which models are single graphs, and which are ensembles."""
    if single := [f"`{model.name}`" for model in models if model.takes_pixels]:
        yield f"- {', '.join(single)}: one graph with uint8 input, which normalises by itself."
    if ensembles := [f"`{model.name}`" for model in models if not model.takes_pixels]:
        yield f"- {', '.join(ensembles)}: an ensemble of `{contents.model}-preprocess`, which normalises on the"
        yield "  processor, and the network, with the suffix `-network`. An export with `--with-preprocess` has graphs"
        yield "  with uint8 input, which save this step and three quarters of the bytes that go to a GPU."
