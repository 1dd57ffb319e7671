"""A model's folder, as ``convnextpose export`` left it: what lies there, and how it is run."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.backends.protocol import Backend
from export.artifacts import sha256_file
from export.engine import BACKENDS, beside, read_record
from export.engine import Backend as EngineBackend
from export.errors import BadInput, NotPossible
from export.joint_sets import JointSet, joint_set
from export.manifest import Artifact, Manifest, read_manifest
from export.pipeline import WEIGHTS
from export.pose import Volume
from export.steps import WHOLE

ONNX_RUNTIME, PYTORCH = "onnxruntime", "pytorch"
ENGINES = {backend.module.replace("_", "-"): backend for backend in BACKENDS.values()}
"""Runtimes of engines, as the command line calls them."""

RUNTIMES = (ONNX_RUNTIME, PYTORCH, *ENGINES)


@dataclass(frozen=True)
class ExportFolder:
    """One exported model."""

    path: Path
    manifest: Manifest

    @cached_property
    def volume(self) -> Volume:
        """What turns the model's bins into pixels and mm."""
        of = self.manifest.architecture
        return Volume(of.heatmap_size, of.depth_dim, of.input_size)

    @cached_property
    def joint_set(self) -> JointSet:
        """What the model's joints are."""
        return joint_set(self.manifest.architecture.joints)

    @property
    def onnx_precisions(self) -> tuple[str, ...]:
        """Precisions of which there is an ONNX file."""
        return tuple(artifact.precision for artifact in self.manifest.artifacts if artifact.kind == "onnx")

    def onnx(self, precision: str) -> Artifact:
        """The ONNX file of this precision.

        Raises:
            BadInput: there is none, or it is not the one that the manifest speaks of.
        """
        for artifact in self.manifest.artifacts:
            if artifact.kind == "onnx" and artifact.precision == precision:
                self._require_unchanged(artifact)
                return artifact
        there = ", ".join(self.onnx_precisions) or "none"
        do = f"make it: convnextpose export {self.manifest.model} --precision {precision}"
        raise BadInput(f"{self.path} holds no {precision} ONNX file", f"precisions there: {there}", do)

    def engine(self, precision: str, backend: EngineBackend) -> Path:
        """The engine of this precision: the manifest's, or one that the recipe's command has put in its place.

        Raises:
            BadInput: there is none, or it is not the manifest's, or it was built from another ONNX file.
        """
        source = self.onnx(precision)
        name = f"engines/{Path(source.path).stem}{backend.suffix}"
        for artifact in self.manifest.artifacts:
            if (artifact.kind, artifact.runtime, artifact.precision) == ("engine", backend.module, precision):
                self._require_unchanged(artifact)
                name = artifact.path
        path = self.path / name
        if not path.is_file():
            reasons = [missing.reason for missing in self.manifest.not_run if missing.precision == precision]
            seen = "; ".join([f"no {name}", *reasons])
            do = "build it on the machine that runs it: convnextpose export, or the commands of recipe.md"
            raise BadInput(f"{self.path} holds no {precision} engine for {backend.product}", seen, do)
        if read_record(beside(path, ".json")).onnx_sha256 != source.sha256:
            seen, do = "the sha256 in its record is not that of the ONNX file", "build it again from this ONNX file"
            raise BadInput(f"{path} was built from another model", seen, do)
        return path

    def _require_unchanged(self, artifact: Artifact) -> None:
        path = self.path / artifact.path
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            seen = "it was changed since" if path.is_file() else "it is gone"
            do = f"make it again: convnextpose export {self.manifest.model}"
            raise BadInput(f"{path} is not what the manifest says of it", seen, do)


def read_export(folder: Path) -> ExportFolder:
    """The model in ``folder``.

    Raises:
        BadInput: no export lies there.
    """
    if not folder.is_dir():
        seen = "a file" if folder.exists() else "nothing there"
        raise BadInput(f"{folder} is no exported model", seen, "name the folder that `make export` filled, as build/L")
    return ExportFolder(folder, read_manifest(folder / WHOLE))


def open_backend(exported: ExportFolder, runtime: str, precision: str, threads: int | None = None) -> Backend:
    """Load the model of this precision in this runtime.

    Raises:
        BadInput: an unknown runtime, or nothing of this precision to run in it.
        NotPossible: the runtime is not installed, or this machine cannot run it.
    """
    if runtime not in RUNTIMES:
        raise BadInput("unknown runtime", runtime, f"choose of {', '.join(RUNTIMES)}")
    try:
        if runtime == PYTORCH:
            from bench.backends.pytorch import PyTorchReference

            if precision != PyTorchReference.precision:
                do = f"ask for {PyTorchReference.precision}, or for another runtime"
                raise BadInput("PyTorch runs the reference only", precision, do)
            return PyTorchReference(exported.path / WEIGHTS, threads)
        if runtime in ENGINES:
            from bench.backends.tensorrt import TensorRTEngine

            return TensorRTEngine(exported.engine(precision, ENGINES[runtime]), ENGINES[runtime])
        from bench.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime(exported.path / exported.onnx(precision).path, precision, threads)
    except ImportError as error:
        do = "install it, or choose another with --runtime"
        raise NotPossible(f"{runtime} is not installed", str(error), do) from error
