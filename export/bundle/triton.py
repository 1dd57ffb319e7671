"""A model repository for NVIDIA's Triton Inference Server: where one machine is outgrown.

``cpu/`` is complete: ONNX Runtime's backend runs every file that it can run on a processor. ``gpu/`` has the same
models for the TensorRT backend, whose plans have to be built on the server that runs them. In both, clients call an
ensemble that takes pixels and normalises them, so that no client can do that wrongly.
"""

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.artifacts import require_writable
from export.bundle.contents import Contents, choose_contents
from export.bundle.manifest import NOTICES, list_files
from export.bundle.write import in_the_making, require_replaceable
from export.engine_plan import EnginePlan
from export.interface import INPUT, OUTPUT
from export.manifest import Artifact
from export.pose import MEAN, STD
from export.recipe import recipe_of

SCHEMA_VERSION = "1.0"
KIND, MARK, SCRIPT = "triton-repository", "about.json", "build-gpu.sh"
PIXELS = "pixels"
TEMPLATE = Path(__file__).parent / "templates/triton.md"
QUEUE_DELAY_US = 1000
"""How long a request waits for others to share a batch with: an eighth of the 8 ms that S took on two cores."""

NOT_ON_CPU = ("bf16",)
"""ONNX Runtime has no such convolution on a processor."""


@dataclass(frozen=True)
class Repository:
    """What was written."""

    folder: Path
    cpu: tuple[str, ...]
    """The ensembles that a server without a GPU offers."""
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
    on_cpu = tuple(artifact for artifact in contents.onnx if artifact.precision not in NOT_ON_CPU)
    with in_the_making(place) as made:
        for side, chosen in (("cpu", on_cpu), ("gpu", contents.onnx)):
            _write_side(made / side, contents, chosen, plan, on_gpu=side == "gpu")
        (made / SCRIPT).write_text(_build_script(contents, plan), encoding="utf-8")
        (made / SCRIPT).chmod(0o755)
        weights = contents.manifest.weights.model_dump(include={"origin", "sha256"})
        about = {"schema_version": SCHEMA_VERSION, "kind": KIND, "model": contents.model, "weights": weights}
        (made / "README.md").write_text(_readme(contents), encoding="utf-8")
        files: Any = [file.model_dump() for file in list_files(made)]
        (made / MARK).write_text(json.dumps(about | {"files": files}, indent=1) + "\n", encoding="utf-8")
    return Repository(place, *(tuple(_name(contents, a) for a in side) for side in (on_cpu, contents.onnx)))


def preprocessing(size: int) -> bytes:
    """uint8 (N, S, S, 3) → float32 (N, 3, S, S) as an ONNX file: ``export.pose.normalise``, bit for bit."""
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


def _write_side(
    folder: Path, contents: Contents, chosen: tuple[Artifact, ...], plan: EnginePlan, *, on_gpu: bool
) -> None:
    about, most = contents.manifest.architecture, plan.batch_max
    pixels = _tensor(PIXELS, "UINT8", about.input_size, about.input_size, 3)
    image = _tensor(INPUT, "FP32", 3, about.input_size, about.input_size)
    joints = _tensor(OUTPUT, "FP32", about.joints, 3)
    first = f"{contents.model}-preprocess"
    version = _model_folder(folder, first, _served(first, "onnxruntime", "KIND_CPU", most, pixels, image))
    (version / "model.onnx").write_bytes(preprocessing(about.input_size))
    for artifact in chosen:
        name = _name(contents, artifact)
        network = f"{name}-network"
        backend, kind = ("tensorrt", "KIND_GPU") if on_gpu else ("onnxruntime", "KIND_CPU")
        version = _model_folder(folder, network, _served(network, backend, kind, most, image, joints))
        if on_gpu:
            (version / "README.md").write_text(f"`model.plan` is written here by `{SCRIPT}`, on the server.\n")
        else:
            shutil.copyfile(contents.folder / artifact.path, version / "model.onnx")
        version = _model_folder(folder, name, _ensemble(name, most, pixels, joints, (first, network)))
        (version / "README.md").write_text("An ensemble has no file of its own, but Triton wants this folder.\n")


def _model_folder(folder: Path, name: str, config: str) -> Path:
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
    return version


def _name(contents: Contents, artifact: Artifact) -> str:
    return f"{contents.model}-{artifact.precision}"


def _tensor(name: str, kind: str, *dims: int) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": list(dims)}


def _fields(tensor: dict[str, Any], *, named: bool = True) -> str:
    name = f'name: "{tensor["name"]}" ' if named else ""
    return f"{name}data_type: {tensor['data_type']} dims: [ {', '.join(map(str, tensor['dims']))} ]"


def _served(name: str, backend: str, kind: str, most: int, given: dict[str, Any], made: dict[str, Any]) -> str:
    """A model that a backend runs: requests that wait together become a batch; both ends of it are run beforehand."""
    warm = [f'{{ name: "batch of {n}" batch_size: {n} inputs {{ key: "{given["name"]}" value: {{ ' for n in (1, most)]
    warm_up = ",\n  ".join(f"{start}{_fields(given, named=False)} zero_data: true }} }} }}" for start in warm)
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {most}\n'
        f"input [ {{ {_fields(given)} }} ]\noutput [ {{ {_fields(made)} }} ]\n"
        f"instance_group [ {{ kind: {kind} count: 1 }} ]\n"
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}\n"
        f"model_warmup [\n  {warm_up}\n]\n"
    )


def _ensemble(name: str, most: int, given: dict[str, Any], made: dict[str, Any], steps: tuple[str, str]) -> str:
    first, network = steps
    return (
        f'name: "{name}"\nplatform: "ensemble"\nmax_batch_size: {most}\n'
        f"input [ {{ {_fields(given)} }} ]\noutput [ {{ {_fields(made)} }} ]\n"
        "ensemble_scheduling { step [\n"
        f'  {{ model_name: "{first}" model_version: -1 '
        f'input_map {{ key: "{PIXELS}" value: "{PIXELS}" }} output_map {{ key: "{INPUT}" value: "{INPUT}" }} }},\n'
        f'  {{ model_name: "{network}" model_version: -1 '
        f'input_map {{ key: "{INPUT}" value: "{INPUT}" }} output_map {{ key: "{OUTPUT}" value: "{OUTPUT}" }} }}\n'
        "] }\n"
    )


def _build_script(contents: Contents, plan: EnginePlan) -> str:
    """Builds the plans with the server's own trtexec; the ONNX files lie in ``cpu/``, or beside the export."""
    recipe = recipe_of(contents.manifest.model_copy(update={"artifacts": list(contents.onnx)}), plan)
    lines = [
        "#!/bin/sh",
        f"# Writes every model.plan, on the server: ./{SCRIPT} FOLDER_WITH_ONNX TENSORRT_MAJOR (10 or 11)",
        "# FOLDER_WITH_ONNX is the export's folder, or a bundle's: the one that holds onnx/.",
        "set -eu",
        'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
        'cd "${1:?name the folder that holds onnx/}"',
        "trtexec=${TRTEXEC:-trtexec}",
    ]
    for artifact, model in zip(contents.onnx, recipe.models, strict=True):
        lines.append(f"echo {shlex.quote(f'{model.onnx_sha256}  {model.onnx}')} | sha256sum --check")
        target = f'"$here"/gpu/{shlex.quote(_name(contents, artifact))}-network/1/model.plan'
        lines.append('case "${2:?say which TensorRT: 10 or 11}" in')
        for major, (_, *switches) in model.trtexec.items():
            kept = [s for s in switches if not s.startswith(("--saveEngine", "--timingCacheFile"))]
            lines.append(f'    {major}) "$trtexec" {shlex.join(kept)} --saveEngine={target} ;;')
        lines.append('    *) echo "error: this recipe knows TensorRT 10 and 11" >&2; exit 4 ;;')
        lines.append("esac")
    return "\n".join(lines) + "\n"


def _readme(contents: Contents) -> str:
    weights, notice = contents.manifest.weights, NOTICES[contents.manifest.weights.origin]
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in {
        "MODEL": contents.model,
        "ORIGIN": weights.origin,
        "NOTICE": f" — {notice}" if notice else "",
        "SIZE": str(contents.manifest.architecture.input_size),
    }.items():
        text = text.replace(f"@{name}@", value)
    return text
