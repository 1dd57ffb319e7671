"""The folder of an exported model: its files, and loading them in a runtime.

A variant is a precision, with ``-pixels`` behind where the model takes uint8 pixels: one ONNX file each.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.sessions.protocol import Session
from export.common.errors import BadInput, NotPossible
from export.common.extras import EXTRAS, install_command
from export.common.files import sha256_file
from export.common.interface import PRECISIONS, precision_of, variant_of
from export.engine.record import beside, read_engine_record
from export.model.architecture import Architecture
from export.model.joint_sets import JointSet, joint_set
from export.pipeline.layout import MANIFEST, WEIGHTS, engine_path
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.runtime.engine_file import PRODUCTS, Product
from export.runtime.pose import Volume

ONNX_RUNTIME, OPENVINO, PYTORCH = "onnxruntime", "openvino", "pytorch"
CHANNELS_LAST, COMPILED = "pytorch-channels-last", "pytorch-compile"
PYTORCH_CUDA, PYTORCH_CUDA_GRAPH = "pytorch-cuda", "pytorch-cuda-graph"
ORT_CUDA, ORT_TENSORRT = "onnxruntime-cuda", "onnxruntime-tensorrt"
TORCH_FORMS = (PYTORCH, CHANNELS_LAST, COMPILED, PYTORCH_CUDA, PYTORCH_CUDA_GRAPH)
ENGINES = {product.option: product for product in PRODUCTS.values()}
"""Runtimes of engines, by their names on the command line."""

RUNTIMES = (ONNX_RUNTIME, OPENVINO, *TORCH_FORMS, ORT_CUDA, ORT_TENSORRT, *ENGINES)
SESSIONS = {
    ONNX_RUNTIME: ("onnx_runtime", "OnnxRuntime"),
    OPENVINO: ("openvino", "OpenVino"),
    PYTORCH: ("pytorch", "PyTorchReference"),
    CHANNELS_LAST: ("pytorch", "TorchChannelsLast"),
    COMPILED: ("pytorch", "TorchCompiled"),
    PYTORCH_CUDA: ("pytorch_cuda", "TorchCuda"),
    PYTORCH_CUDA_GRAPH: ("pytorch_cuda", "TorchCudaGraph"),
    ORT_CUDA: ("onnx_runtime_gpu", "OnnxRuntimeGpu"),
    ORT_TENSORRT: ("onnx_runtime_gpu", "OnnxRuntimeGpu"),
    **dict.fromkeys(ENGINES, ("tensorrt", "TensorRTEngine")),
}
"""Runtime → module of ``bench.sessions`` and session class; imported when a session is loaded."""
GPU_RUNTIMES = (PYTORCH_CUDA, PYTORCH_CUDA_GRAPH, ORT_CUDA, ORT_TENSORRT, *ENGINES)


@dataclass(frozen=True)
class ExportFolder:
    """One exported model."""

    path: Path
    manifest: Manifest

    @cached_property
    def volume(self) -> Volume:
        """The volume that turns the model's bins into pixels and mm."""
        return Volume.from_architecture(self.manifest.architecture)

    @cached_property
    def architecture(self) -> Architecture:
        """The network."""
        return self.manifest.architecture.as_architecture()

    @cached_property
    def joint_set(self) -> JointSet:
        """The names and bones of the model's joints."""
        return joint_set(self.manifest.architecture.joints)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants of the ONNX files in the folder."""
        return tuple(map(_variant, self._onnx_files()))

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions of the ONNX files that take normalised images."""
        return tuple(variant for variant in self.variants if precision_of(variant) == variant)

    def select_variants(self, variants: str) -> tuple[str, ...]:
        """Split ``"fp16, int8"`` into ``("fp16", "int8")``, each once.

        Raises:
            BadInput: one is not in the folder, or none is named.
        """
        names = tuple(dict.fromkeys(part.strip() for part in variants.split(",") if part.strip()))
        if not names:
            raise BadInput("unknown precision", variants or "nothing", f"choose of {', '.join(self.variants)}")
        for name in names:
            self.onnx(name)
        return names

    def onnx(self, variant: str) -> Artifact:
        """Return the ONNX file of this variant.

        Raises:
            BadInput: there is none, there never can be, or it is not the manifest's.
        """
        for artifact in self._onnx_files():
            if _variant(artifact) == variant:
                self._require_unchanged(artifact)
                return artifact
        precision = precision_of(variant)
        if precision not in PRECISIONS:
            raise BadInput("unknown precision", variant, f"choose of {', '.join(self.variants or PRECISIONS)}")
        advice = f"create it: convnextpose export {self.manifest.model} --precision {precision}"
        advice += " --with-preprocess" * (variant != precision)
        detail = f"it has {', '.join(self.variants) or 'none'}"
        raise BadInput(f"{self.path} has no {variant} ONNX file", detail, advice)

    def _onnx_files(self) -> list[Artifact]:
        return [artifact for artifact in self.manifest.artifacts if artifact.kind == "onnx"]

    def listed_engine(self, variant: str, product: Product) -> Artifact | None:
        """Return the engine of this variant in the manifest, or None."""
        key = ("engine", product.module, variant)
        return next((a for a in self.manifest.artifacts if (a.kind, a.runtime, _variant(a)) == key), None)

    def engine(self, variant: str, product: Product) -> Path:
        """Return the engine of this variant: the manifest's, or one that the recipe's command has built.

        Raises:
            BadInput: there is none, or it is not the manifest's, or it was built from another ONNX file.
        """
        source = self.onnx(variant)
        name = engine_path(source.path, product)
        if (listed := self.listed_engine(variant, product)) is not None:
            self._require_unchanged(listed)
            name = listed.path
        path = self.path / name
        if not path.is_file():
            reasons = [missing.reason for missing in self.manifest.not_run if missing.precision == variant]
            advice = "build it on the machine that runs it: convnextpose export, or the commands of recipe.md"
            detail = "; ".join([f"no {name}", *reasons])
            raise BadInput(f"{self.path} has no {variant} engine for {product.name}", detail, advice)
        if read_engine_record(beside(path, ".json")).onnx_sha256 != source.sha256:
            detail, advice = "another sha256 of the ONNX file in its record", "build it again from this ONNX file"
            raise BadInput(f"{path} was built from another model", detail, advice)
        return path

    def _require_unchanged(self, artifact: Artifact) -> None:
        path = self.path / artifact.path
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            detail = "another sha256" if path.is_file() else "no such file"
            advice = f"export again: convnextpose export {self.manifest.model}"
            raise BadInput(f"{path} does not match the manifest", detail, advice)


def _variant(artifact: Artifact) -> str:
    return variant_of(artifact.precision, takes_pixels=any(tensor.dtype == "uint8" for tensor in artifact.inputs))


def read_export(folder: Path) -> ExportFolder:
    """Read the exported model in ``folder``.

    Raises:
        BadInput: there is none.
    """
    if not folder.is_dir():
        detail = "a file" if folder.exists() else "no such folder"
        raise BadInput(
            f"{folder} is no exported model", detail, "name the folder that `make export` filled, as build/L"
        )
    return ExportFolder(folder, read_manifest(folder / MANIFEST))


def usual_runtime(variant: str) -> str:
    """Return the default runtime of a variant: ONNX Runtime, except for BF16, which it cannot convolve on the CPU."""
    return OPENVINO if precision_of(variant) == "bf16" else ONNX_RUNTIME


def load_session(
    exported: ExportFolder, runtime: str, variant: str, threads: int | None = None, *, graph: bool = False
) -> Session:
    """Load the model of this variant in this runtime; with ``graph``, engines are launched as CUDA graphs.

    Raises:
        BadInput: an unknown runtime, or nothing of this variant to run in it.
        NotPossible: the runtime is not installed, or this machine or the runtime cannot run this precision.
    """
    if runtime not in RUNTIMES:
        raise BadInput("unknown runtime", runtime, f"choose of {', '.join(RUNTIMES)}")
    if runtime in TORCH_FORMS and variant != "fp32":
        raise BadInput("PyTorch runs the reference only", variant, "ask for fp32, or for another runtime")
    try:
        module, name = SESSIONS[runtime]
        session_class: Any = getattr(import_module(f"bench.sessions.{module}"), name)
        session: Session
        if runtime in TORCH_FORMS:
            session = session_class(exported.path / WEIGHTS, threads)
        elif runtime in ENGINES:
            session = session_class(exported.engine(variant, ENGINES[runtime]), ENGINES[runtime], graph=graph)
        else:
            options = (runtime,) if runtime in (ORT_CUDA, ORT_TENSORRT) else ()
            path = exported.path / exported.onnx(variant).path
            session = session_class(path, precision_of(variant), *options, threads=threads)
    except ImportError as error:
        command = install_command(runtime) if runtime in EXTRAS else f"pip install {error.name}"
        advice = f"{command}, or choose another with --runtime"
        raise NotPossible(f"{runtime} is not installed", str(error), advice) from error
    return session
