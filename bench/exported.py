"""A model's folder, as ``convnextpose export`` left it: what lies there, and how it is run."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.backends.protocol import Backend
from export.artifacts import sha256_file
from export.errors import BadInput, NotPossible
from export.joint_sets import JointSet, joint_set
from export.manifest import Artifact, Manifest, read_manifest
from export.pipeline import WEIGHTS
from export.pose import Volume
from export.steps import WHOLE

ONNX_RUNTIME, PYTORCH, OPENVINO = "onnxruntime", "pytorch", "openvino"
CHANNELS_LAST, COMPILED = "pytorch-channels-last", "pytorch-compile"
TORCH_FORMS = (PYTORCH, CHANNELS_LAST, COMPILED)
RUNTIMES = (ONNX_RUNTIME, OPENVINO, *TORCH_FORMS)


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
        NotPossible: the runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise BadInput("unknown runtime", runtime, f"choose of {', '.join(RUNTIMES)}")
    try:
        if runtime in TORCH_FORMS:
            return _open_torch(exported, runtime, precision, threads)
        if runtime == OPENVINO:
            from bench.backends.openvino import OpenVino

            return OpenVino(exported.path / openvino_source(exported, precision).path, precision, threads)
        from bench.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime(exported.path / exported.onnx(precision).path, precision, threads)
    except ImportError as error:
        do = "install it, or choose another with --runtime"
        raise NotPossible(f"{runtime} is not installed", str(error), do) from error


def openvino_source(exported: ExportFolder, precision: str) -> Artifact:
    """The file that OpenVINO reads: it makes bfloat16 of the fp32 file by itself."""
    return exported.onnx("fp32" if precision == "bf16" else precision)


def _open_torch(exported: ExportFolder, runtime: str, precision: str, threads: int | None) -> Backend:
    from bench.backends.pytorch import PyTorchReference
    from bench.backends.torch_forms import TorchChannelsLast, TorchCompiled

    if precision != PyTorchReference.precision:
        do = f"ask for {PyTorchReference.precision}, or for another runtime"
        raise BadInput("PyTorch runs the reference only", precision, do)
    form = {PYTORCH: PyTorchReference, CHANNELS_LAST: TorchChannelsLast, COMPILED: TorchCompiled}[runtime]
    return form(exported.path / WEIGHTS, threads)
