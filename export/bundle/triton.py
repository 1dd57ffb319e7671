"""A model repository for NVIDIA's Triton Inference Server: where one machine is outgrown.

``cpu/`` is complete: ONNX Runtime's backend runs every file that it can run on a processor. ``gpu/`` has the same
models for the TensorRT backend, whose plans have to be built on the server that runs them. In both, clients send
pixels, so that none can normalise them wrongly. Where the export has a pixel variant of a precision, that one graph is
the model: a quarter of the bytes goes to the GPU, one model is scheduled, and what was proven is what is served. Where
it has none, the model is an ensemble of a small graph that normalises, on the processor, and the network.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.bundle.contents import Contents, choose_contents, pixel_variants
from export.bundle.device_recipe import checked, choose, commands, find_trtexec
from export.bundle.manifest import NOTICES, list_files
from export.bundle.triton_config import Tensor, ensemble, served
from export.bundle.write import in_the_making, require_replaceable
from export.common.files import require_writable
from export.common.interface import INPUT, OUTPUT
from export.engine.plan import EnginePlan
from export.model.pose import MEAN, STD
from export.pipeline.manifest import Artifact
from export.pipeline.recipe import MAJORS, recipe_of

SCHEMA_VERSION = "1.1"
ON_CPU = "tritonserver --model-repository=$PWD/cpu              # ONNX Runtime on the processor\n"
KIND, MARK, SCRIPT = "triton-repository", "about.json", "build-gpu.sh"
PIXELS = "pixels"
TEMPLATE = Path(__file__).parent / "templates/triton.md"

NOT_ON_CPU = ("bf16",)
"""ONNX Runtime has no such convolution on a processor."""

HEAD = """\
#!/bin/sh
# Writes every model.plan of gpu/, on the server that will run them, with its own trtexec: sh build-gpu.sh [fp16 int8 …]
#
# The ONNX files are those of this folder. TRTEXEC=path names another trtexec; TENSORRT_MAJOR=10 or 11 is for one that
# does not say its version. layers/ takes what each plan's layers compute in.
set -eu
"""


@dataclass(frozen=True)
class Served:
    """One precision as clients see it."""

    name: str
    artifact: Artifact
    """The file that is run: the pixel variant where there is one."""
    takes_pixels: bool

    @property
    def network(self) -> str:
        """The model that holds the file."""
        return self.name if self.takes_pixels else f"{self.name}-network"

    @property
    def on_cpu(self) -> bool:
        """Whether ONNX Runtime runs it there."""
        return self.artifact.precision not in NOT_ON_CPU

    @property
    def source(self) -> str:
        """Where its ONNX file lies in the repository."""
        return f"cpu/{self.network}/1/model.onnx" if self.on_cpu else self.artifact.path


@dataclass(frozen=True)
class Repository:
    """What was written."""

    folder: Path
    cpu: tuple[str, ...]
    """The models that clients of a server without a GPU ask."""
    gpu: tuple[str, ...]


def write_triton(export: Path, out: Path, precisions: tuple[str, ...] | None, plan: EnginePlan) -> Repository:
    """Write ``out/<MODEL>-triton``; an older one is replaced.

    Raises:
        BadInput: no export, not what was asked for in it, or ``out`` cannot be written or holds something else there.
        CheckFailed: a file is not proven.
    """
    contents = choose_contents(export, precisions, with_engines=False)
    place = out / f"{contents.model}-triton"
    require_replaceable(place, MARK, KIND)
    require_writable(out)
    models = _models(contents)
    with in_the_making(place) as made:
        for side in ("cpu", "gpu"):
            _write_side(made / side, contents, [m for m in models if m.on_cpu or side == "gpu"], plan.batch_max)
        for model in models:
            (made / model.source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(contents.folder / model.artifact.path, made / model.source)
        (made / SCRIPT).write_text(_build_script(contents, models, plan), encoding="utf-8")
        (made / SCRIPT).chmod(0o755)
        weights = contents.manifest.weights.model_dump(include={"origin", "sha256"})
        about = {"schema_version": SCHEMA_VERSION, "kind": KIND, "model": contents.model, "weights": weights}
        (made / "README.md").write_text(_readme(contents, models), encoding="utf-8")
        files: Any = [file.model_dump() for file in list_files(made)]
        (made / MARK).write_text(json.dumps(about | {"files": files}, indent=1) + "\n", encoding="utf-8")
    return Repository(place, tuple(m.name for m in models if m.on_cpu), tuple(m.name for m in models))


def preprocessing(size: int) -> bytes:
    """uint8 (N, S, S, 3) → float32 (N, 3, S, S) as an ONNX file: ``export.model.pose.normalise``, bit for bit."""
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


def _models(contents: Contents) -> list[Served]:
    variants = pixel_variants(contents)
    return [
        Served(f"{contents.model}-{a.precision}", variants.get(a.precision, a), a.precision in variants)
        for a in contents.onnx
    ]


def _write_side(folder: Path, contents: Contents, models: list[Served], most: int) -> None:
    """The configurations of ``cpu/`` or ``gpu/``, and the graph that normalises where one is needed."""
    about, on_gpu = contents.manifest.architecture, folder.name == "gpu"
    square = (about.input_size, about.input_size)
    image, joints = Tensor(INPUT, "FP32", (3, *square)), Tensor(OUTPUT, "FP32", (about.joints, 3))
    first, pixels = f"{contents.model}-preprocess", Tensor(PIXELS, "UINT8", (*square, 3))
    folder.mkdir()
    if not all(model.takes_pixels for model in models):
        version = _model_folder(folder, first, served(first, most, pixels, image, plan=False, on_gpu=False))
        (version / "model.onnx").write_bytes(preprocessing(about.input_size))
    for model in models:
        given = Tensor(INPUT, "UINT8", (*square, 3)) if model.takes_pixels else image
        config = served(model.network, most, given, joints, plan=on_gpu, on_gpu=on_gpu)
        version = _model_folder(folder, model.network, config)
        if on_gpu:
            (version / "README.md").write_text(f"`model.plan` is written here by `{SCRIPT}`, on the server.\n")
        if not model.takes_pixels:
            config = ensemble(model.name, most, (pixels, image, joints), (first, model.network))
            version = _model_folder(folder, model.name, config)
            (version / "README.md").write_text("An ensemble has no file of its own, but Triton wants this folder.\n")


def _model_folder(folder: Path, name: str, config: str) -> Path:
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
    return version


def _build_script(contents: Contents, models: list[Served], plan: EnginePlan) -> str:
    """The recipe's commands, with the repository's own paths; timings are not kept, since each plan is built once."""
    artifacts = [model.artifact for model in models]
    recipe = recipe_of(contents.manifest.model_copy(update={"artifacts": artifacts}), plan)

    def switches(model: Served, command: tuple[str, ...]) -> list[str]:
        paths = {
            "--onnx": model.source,
            "--saveEngine": f"gpu/{model.network}/1/model.plan",
            "--exportLayerInfo": f"layers/{model.name}.json",
        }
        given = [switch.partition("=") for switch in command[1:]]
        kept = [(name, paths.get(name, value)) for name, _, value in given if name != "--timingCacheFile"]
        return [f"{name}={value}" if value else name for name, value in kept]

    pairs = list(zip(models, recipe.models, strict=True))
    precisions = [model.artifact.precision for model in models]
    lines = [
        HEAD + choose(SCRIPT, precisions) + find_trtexec(SCRIPT) + 'CDPATH= cd -- "$(dirname -- "$0")"\nmkdir -p layers'
    ]
    lines += checked((model.source, model.artifact.sha256) for model in models)
    lines += commands(
        SCRIPT,
        {
            major: [(m.artifact.precision, switches(m, known.trtexec[str(major)])) for m, known in pairs]
            for major in MAJORS
        },
    )
    return "\n".join(lines) + "\n"


def _readme(contents: Contents, models: list[Served]) -> str:
    weights, notice = contents.manifest.weights, NOTICES[contents.manifest.weights.origin]
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in {
        "MODEL": contents.model,
        "ORIGIN": weights.origin,
        "NOTICE": f" — {notice}" if notice else "",
        "SIZE": str(contents.manifest.architecture.input_size),
        "CPU": ON_CPU if any(model.on_cpu for model in models) else "",
        "FORMS": "\n".join(_forms(contents, models)),
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


def _forms(contents: Contents, models: list[Served]) -> list[str]:
    """What each model that clients ask is made of."""
    lines = []
    if direct := [f"`{model.name}`" for model in models if model.takes_pixels]:
        lines.append(f"- {', '.join(direct)}: the pixel variant, one graph that takes bytes and normalises by itself.")
    if both := [f"`{model.name}`" for model in models if not model.takes_pixels]:
        lines += [
            f"- {', '.join(both)}: an ensemble of `{contents.model}-preprocess`, which normalises on the processor,",
            "  and the network of that name with `-network` behind it. An export made with `--with-preprocess` has",
            "  pixel variants, which save this step and three quarters of the bytes that go to a GPU.",
        ]
    return lines
