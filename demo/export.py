"""The demo checkpoint as an exported folder, for whoever needs something real to run."""

from pathlib import Path

from export.config import load_config
from export.manifest import write_manifest
from export.model_steps import weights_step
from export.pipeline import export_model, require_success
from export.progress import Narrator
from export.request import Request, demo_checkpoint
from export.steps import Folder
from export.summary import manifest_of

MODEL = "XS-atto"


def export_demo(out: Path, narrator: Narrator) -> Path:
    """Export it into ``out``, in FP32, without timing anything; returns the model's folder.

    Raises:
        CheckFailed, Inconclusive: as ``convnextpose export``.
    """
    config = load_config(MODEL)
    request = Request(config, demo_checkpoint(config), {})
    folder = Folder(out / config.name, narrator)
    with folder.held():
        exported = export_model(folder, request, weights_step(folder, request))
        write_manifest(folder.path, manifest_of(folder, request, exported))
    require_success(exported)
    return folder.path
