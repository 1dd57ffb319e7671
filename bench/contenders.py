"""The models of one folder that are judged together: the reference first."""

from bench.evaluation import Contender
from bench.exported import BEYOND_ONNX_RUNTIME, ONNX_RUNTIME, OPENVINO, PYTORCH, ExportFolder, open_backend
from export.errors import BadInput


def open_contenders(exported: ExportFolder, precisions: str | None, *, reference: bool) -> list[Contender]:
    """Load the reference and every ONNX file of these precisions (separated by commas; None: all of them).

    Raises:
        BadInput: a precision of which there is no file.
    """
    asked = exported.onnx_precisions if precisions is None else tuple(p.strip() for p in precisions.split(","))
    contenders = []
    if reference:
        contenders.append(Contender(open_backend(exported, PYTORCH, "fp32"), None, is_reference=True))
    for precision in dict.fromkeys(asked):
        artifact = exported.onnx(precision)
        runtime = OPENVINO if precision in BEYOND_ONNX_RUNTIME else ONNX_RUNTIME
        contenders.append(Contender(open_backend(exported, runtime, precision), artifact.sha256))
    if not contenders:
        seen = "no ONNX file in the folder, and no reference asked for"
        raise BadInput("there is nothing to evaluate", seen, f"export {exported.manifest.model} first")
    return contenders
