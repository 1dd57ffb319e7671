"""The models of one folder that are judged together: the reference first."""

from bench.accuracy.evaluation import EvaluatedModel
from bench.sessions.exported import PYTORCH, ExportFolder, load_session
from export.common.errors import BadInput
from export.common.interface import precision_of
from export.parity.sessions import parity_runtimes


def open_models(exported: ExportFolder, variants: str | None, *, reference: bool) -> list[EvaluatedModel]:
    """Load the reference, and every ONNX file of these variants (separated by commas; None: all of them).

    A file is run by everything that its parity is judged with: a runtime may compute in another type than the
    file's, and then only its simulation tells what the precision costs on a device that has it.

    Raises:
        BadInput: a variant of which there is no file.
    """
    asked = exported.variants if variants is None else exported.select_variants(variants)
    models = []
    if reference:
        models.append(EvaluatedModel(load_session(exported, PYTORCH, "fp32"), None, is_reference=True))
    for variant in asked:
        artifact = exported.onnx(variant)
        precision = precision_of(variant)
        for runtime in parity_runtimes(precision)[0]:
            session = runtime.open(exported.path / artifact.path, precision)
            models.append(EvaluatedModel(session, artifact.sha256, label=runtime.name))
    if not models:
        seen = "no ONNX file in the folder, and no reference asked for"
        raise BadInput("there is nothing to evaluate", seen, f"export {exported.manifest.model} first")
    return models
