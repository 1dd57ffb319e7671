"""Steps that make the reference model: its weights, and its joints on the parity images.

Like all steps, they import heavy packages inside, so that a run that is up to date loads neither torch nor onnx.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.checkpoint.records import CheckpointRecord
from export.common.files import sha256_path, write_json
from export.common.progress import Progress
from export.pipeline.layout import IMAGE_STATISTICS, TRUTH, WEIGHTS
from export.pipeline.options import require_agreement
from export.pipeline.reports import ImagesReport
from export.pipeline.request import ExportRequest
from export.pipeline.steps import Folder, Step, StepResult

if TYPE_CHECKING:
    from torch import Tensor

    from export.checkpoint.loading import Checkpoint
    from export.checkpoint.verdict import Verdict

REFERENCE_BATCH = 4
"""Images at a time in FP64; four volumes of 64³ for 18 joints are 150 MB."""


def weights_step(folder: Folder, request: ExportRequest) -> StepResult[CheckpointRecord]:
    """Read a checkpoint, grow a demo checkpoint, or make random weights; decide the architecture.

    Raises:
        BadInput: the checkpoint cannot be read or contradicts itself.
        CheckFailed: ``--strict``, and the checkpoint is not the declared model.
    """
    config, growth = request.config, request.growth

    def work(target: Path, progress: Progress) -> CheckpointRecord:
        from export.checkpoint.claims import audit_by_file
        from export.checkpoint.inspection import checkpoint_record
        from export.model.network import build_network
        from export.model.weights_file import save_weights

        verdict, file, tensors = _load_weights(request, progress)
        build_network(verdict.architecture, tensors)
        # a demo checkpoint and random weights are no evidence of published claims
        claims = audit_by_file(config, verdict) if request.origin == "checkpoint" else []
        save_weights(target / WEIGHTS, tensors, verdict.architecture)
        return checkpoint_record(verdict, file, claims)

    inputs = {"checkpoint": request.checkpoint_sha256} if request.checkpoint_sha256 else {}
    if growth and growth.head:
        inputs["head"] = sha256_path(growth.head)
    declared = config.model_dump(mode="json", exclude={"claims", "files", "demo", "demo_head", "grown_from"})
    options: dict[str, Any] = {"declared": declared, "overrides": dict(request.overrides), "origin": request.origin}
    options |= {"grown_from": asdict(growth.source)} if growth else {}
    options |= {"weights_key": request.weights_key} if request.weights_key is not None else {}
    step = Step("weights", (WEIGHTS,), inputs, options, ("torch", "safetensors"))
    result = folder.perform(step, work, CheckpointRecord)
    if request.strict and result.value:
        require_agreement(config.name, result.value.verdict, result.value.nearest_models)
    return result


def _load_weights(
    request: ExportRequest, progress: Progress
) -> tuple["Verdict", "Checkpoint | None", Mapping[str, "Tensor"]]:
    """Return the verdict, the file that the weights come from, and the weights."""
    from export.checkpoint.loading import read_checkpoint
    from export.checkpoint.verdict import judge

    config, growth = request.config, request.growth
    path = growth.checkpoint if growth else request.checkpoint
    if path is None:
        from export.synthetic.random_weights import stand_in_weights

        progress("making stand-in weights")
        verdict = judge(config, None, request.overrides)
        return verdict, None, stand_in_weights(verdict.architecture)
    progress(f"reading {path}")
    file = read_checkpoint(path, request.weights_key)
    if growth:
        from export.synthetic.grown import grow_demo

        progress(f"growing the {growth.model} demo checkpoint")
        verdict = judge(config, None, request.overrides)
        return verdict, file, grow_demo(growth, file.tensors, verdict.architecture)
    verdict = judge(config, file, request.overrides)
    if request.strict:
        require_agreement(config.name, verdict.rows, verdict.nearest)
    return verdict, file, file.tensors


def truth_step(
    folder: Folder, request: ExportRequest, weights: StepResult[CheckpointRecord]
) -> StepResult[ImagesReport]:
    """Run the reference model on the parity images in FP64, which is the ground truth, and in FP32."""

    def work(target: Path, progress: Progress) -> ImagesReport:
        progress("loading PyTorch")
        import numpy as np

        from export.images.norm_statistics import judge_images, observe_norms
        from export.model.reference import run_reference
        from export.model.weights_file import load_network
        from export.parity.images import parity_images

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size, request.parity_images)
        with observe_norms(network) as moments:
            reference = run_reference(network, images.images, REFERENCE_BATCH, progress)
        statistics = judge_images(network, moments)
        truth = run_reference(network.double(), images.images, REFERENCE_BATCH, progress)
        (target / TRUTH).parent.mkdir()
        np.savez(target / TRUTH, truth=truth, reference=reference, images=images.images)
        write_json(target / IMAGE_STATISTICS, statistics.as_json())
        summary = {"every_norm": IMAGE_STATISTICS, **statistics.summary()}
        return ImagesReport.model_validate({**images.as_json(), "statistics": summary})

    inputs = weights.hashes(WEIGHTS) | hashes_of(parity_images=request.parity_images)
    step = Step("truth", (TRUTH, IMAGE_STATISTICS), inputs, {}, ("torch", "numpy"))
    return folder.perform(step, work, ImagesReport)


def describe_weights(request: ExportRequest, weights: StepResult[CheckpointRecord]) -> dict[str, str]:
    """Return what the metadata of an ONNX file say of its weights."""
    return {
        "model": request.config.name,
        "weights_origin": request.origin,
        "weights_sha256": source_sha256(request, weights),
    }


def source_sha256(request: ExportRequest, weights: StepResult[CheckpointRecord]) -> str:
    """Return the hash of the checkpoint's file; of the canonical weights if there is no checkpoint."""
    return request.checkpoint_sha256 or weights.outputs[WEIGHTS]


def hashes_of(**paths: Path | None) -> dict[str, str]:
    """Return the hashes of the user's files or folders, without those that are None."""
    return {name: sha256_path(path) for name, path in paths.items() if path is not None}
