"""A model's folder, as ``convnextpose export`` left it: what lies there, and how it is run."""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.sessions.protocol import Session
from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file
from export.common.interface import PRECISIONS, precision_of, variant_of
from export.engine.build import beside, read_engine_record
from export.engine.plan import BACKENDS
from export.engine.plan import Backend as EngineBackend
from export.model.architecture import Architecture
from export.model.joint_sets import JointSet, joint_set
from export.model.pose import Volume
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.pipeline.model_steps import WEIGHTS
from export.pipeline.steps import WHOLE

ONNX_RUNTIME, OPENVINO, PYTORCH = "onnxruntime", "openvino", "pytorch"
CHANNELS_LAST, COMPILED = "pytorch-channels-last", "pytorch-compile"
PYTORCH_CUDA, PYTORCH_CUDA_GRAPH = "pytorch-cuda", "pytorch-cuda-graph"
ORT_CUDA, ORT_TENSORRT = "onnxruntime-cuda", "onnxruntime-tensorrt"
TORCH_FORMS = (PYTORCH, CHANNELS_LAST, COMPILED, PYTORCH_CUDA, PYTORCH_CUDA_GRAPH)
ENGINES = {backend.name: backend for backend in BACKENDS.values()}
"""Runtimes of engines, as the command line calls them."""

RUNTIMES = (ONNX_RUNTIME, OPENVINO, *TORCH_FORMS, ORT_CUDA, ORT_TENSORRT, *ENGINES)
SESSIONS = {
    ONNX_RUNTIME: ("onnx_runtime", "OnnxRuntime"),
    OPENVINO: ("openvino", "OpenVino"),
    PYTORCH: ("pytorch", "PyTorchReference"),
    CHANNELS_LAST: ("torch_forms", "TorchChannelsLast"),
    COMPILED: ("torch_forms", "TorchCompiled"),
    PYTORCH_CUDA: ("pytorch_cuda", "TorchCuda"),
    PYTORCH_CUDA_GRAPH: ("pytorch_cuda_graph", "TorchCudaGraph"),
    ORT_CUDA: ("onnx_runtime_gpu", "OnnxRuntimeGpu"),
    ORT_TENSORRT: ("onnx_runtime_gpu", "OnnxRuntimeGpu"),
    **dict.fromkeys(ENGINES, ("tensorrt", "TensorRTEngine")),
}
"""Runtime → module of ``bench.sessions`` and session class; imported when it is opened."""
GPU_RUNTIMES = (PYTORCH_CUDA, PYTORCH_CUDA_GRAPH, ORT_CUDA, ORT_TENSORRT, *ENGINES)


@dataclass(frozen=True)
class ExportFolder:
    """One exported model."""

    path: Path
    manifest: Manifest

    @cached_property
    def volume(self) -> Volume:
        """What turns the model's bins into pixels and mm."""
        return Volume.of(self.manifest.architecture)

    @cached_property
    def architecture(self) -> Architecture:
        """The network."""
        plain = self.manifest.architecture.model_dump(exclude={"heatmap_size"})
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return Architecture(**fields)

    @cached_property
    def joint_set(self) -> JointSet:
        """What the model's joints are."""
        return joint_set(self.manifest.architecture.joints)

    @property
    def variants(self) -> tuple[str, ...]:
        """The ONNX files in the folder: precisions, those that take pixels with ``-pixels`` behind."""
        return tuple(map(_variant, self._onnx_files()))

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions of which there is an ONNX file that takes normalised images."""
        return tuple(variant for variant in self.variants if precision_of(variant) == variant)

    def select_variants(self, variants: str) -> tuple[str, ...]:
        """``"fp16, int8"`` → ``("fp16", "int8")``, each once, all of them in the folder.

        Raises:
            BadInput: one is not there, or none is named.
        """
        asked = tuple(dict.fromkeys(part.strip() for part in variants.split(",") if part.strip()))
        if not asked:
            raise BadInput("unknown precision", variants or "nothing", f"choose of {', '.join(self.variants)}")
        for variant in asked:
            self.onnx(variant)
        return asked

    def onnx(self, variant: str) -> Artifact:
        """The ONNX file of this variant.

        Raises:
            BadInput: there is none, there never can be, or it is not the one that the manifest speaks of.
        """
        for artifact in self._onnx_files():
            if _variant(artifact) == variant:
                self._require_unchanged(artifact)
                return artifact
        if precision_of(variant) not in PRECISIONS:
            raise BadInput("unknown precision", variant, f"choose of {', '.join(self.variants or PRECISIONS)}")
        there = ", ".join(self.variants) or "none"
        do = f"make it: convnextpose export {self.manifest.model} --precision {precision_of(variant)}"
        do += " --with-preprocess" * (variant != precision_of(variant))
        raise BadInput(f"{self.path} holds no {variant} ONNX file", f"there: {there}", do)

    def _onnx_files(self) -> list[Artifact]:
        return [artifact for artifact in self.manifest.artifacts if artifact.kind == "onnx"]

    def listed_engine(self, variant: str, backend: EngineBackend) -> Artifact | None:
        """The engine of this variant that the manifest speaks of, if it does."""
        wanted = ("engine", backend.module, variant)
        return next((a for a in self.manifest.artifacts if (a.kind, a.runtime, _variant(a)) == wanted), None)

    def engine(self, variant: str, backend: EngineBackend) -> Path:
        """The engine of this variant: the manifest's, or one that the recipe's command has put in its place.

        Raises:
            BadInput: there is none, or it is not the manifest's, or it was built from another ONNX file.
        """
        source = self.onnx(variant)
        name = f"engines/{Path(source.path).stem}{backend.suffix}"
        if (listed := self.listed_engine(variant, backend)) is not None:
            self._require_unchanged(listed)
            name = listed.path
        path = self.path / name
        if not path.is_file():
            reasons = [missing.reason for missing in self.manifest.not_run if missing.precision == variant]
            seen = "; ".join([f"no {name}", *reasons])
            do = "build it on the machine that runs it: convnextpose export, or the commands of recipe.md"
            raise BadInput(f"{self.path} holds no {variant} engine for {backend.product}", seen, do)
        if read_engine_record(beside(path, ".json")).onnx_sha256 != source.sha256:
            seen, do = "the sha256 in its record is not that of the ONNX file", "build it again from this ONNX file"
            raise BadInput(f"{path} was built from another model", seen, do)
        return path

    def _require_unchanged(self, artifact: Artifact) -> None:
        path = self.path / artifact.path
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            seen = "it was changed since" if path.is_file() else "it is gone"
            do = f"make it again: convnextpose export {self.manifest.model}"
            raise BadInput(f"{path} is not what the manifest says of it", seen, do)


def _variant(artifact: Artifact) -> str:
    return variant_of(artifact.precision, takes_pixels=any(tensor.dtype == "uint8" for tensor in artifact.inputs))


def read_export(folder: Path) -> ExportFolder:
    """The model in ``folder``.

    Raises:
        BadInput: no export lies there.
    """
    if not folder.is_dir():
        seen = "a file" if folder.exists() else "nothing there"
        raise BadInput(f"{folder} is no exported model", seen, "name the folder that `make export` filled, as build/L")
    return ExportFolder(folder, read_manifest(folder / WHOLE))


def usual_runtime(variant: str) -> str:
    """What runs a variant where nobody says otherwise: ONNX Runtime has no BF16 convolution on the CPU."""
    return OPENVINO if precision_of(variant) == "bf16" else ONNX_RUNTIME


def load_session(
    exported: ExportFolder, runtime: str, variant: str, threads: int | None = None, *, graph: bool = False
) -> Session:
    """Load the model of this variant in this runtime; ``graph``: engines are launched as CUDA graphs.

    Raises:
        BadInput: an unknown runtime, or nothing of this variant to run in it.
        NotPossible: the runtime is not installed, this machine cannot run it, or it cannot run this precision.
    """
    if runtime not in RUNTIMES:
        raise BadInput("unknown runtime", runtime, f"choose of {', '.join(RUNTIMES)}")
    precision = precision_of(variant)
    try:
        module, name = SESSIONS[runtime]
        session: Any = getattr(import_module(f"bench.sessions.{module}"), name)
        if runtime in TORCH_FORMS:
            if variant != "fp32":
                raise BadInput("PyTorch runs the reference only", variant, "ask for fp32, or for another runtime")
            opened = session(exported.path / WEIGHTS, threads)
        elif runtime in ENGINES:
            opened = session(exported.engine(variant, ENGINES[runtime]), ENGINES[runtime], graph=graph)
        else:
            path = exported.path / exported.onnx(variant).path
            more = (runtime,) if runtime in (ORT_CUDA, ORT_TENSORRT) else ()
            opened = session(path, precision, *more, threads=threads)
    except ImportError as error:
        do = "install it, or choose another with --runtime"
        raise NotPossible(f"{runtime} is not installed", str(error), do) from error
    backend: Session = opened
    return backend
