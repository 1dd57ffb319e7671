"""``README.md`` of a bundle: for whoever has it, and nothing else, before them."""

from collections.abc import Iterator
from pathlib import Path

from export.bundle.contents import Contents
from export.bundle.goldens import Goldens
from export.bundle.manifest import NOTICES

TEMPLATE = Path(__file__).parent / "templates/README.md"


def bundle_readme(contents: Contents, goldens: Goldens, folder: str) -> str:
    """The text; it names no id, which depends on it."""
    manifest = contents.manifest
    weights, notice = manifest.weights, NOTICES[manifest.weights.origin]
    precisions = [onnx.precision for onnx in contents.onnx]
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in {
        "MODEL": contents.model,
        "JOINTS": str(manifest.architecture.joints),
        "PARAMETERS": f"{manifest.counts.parameters:,}",
        "ORIGIN": weights.origin,
        "NOTICE": f" — {notice}" if notice else "",
        "WEIGHTS": weights.sha256,
        "ROWS": "\n".join(_rows(contents)),
        "GOLDENS": goldens.source,
        "FOLDER": folder,
        "PRECISION": "fp16" if "fp16" in precisions else precisions[0],
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


def _rows(contents: Contents) -> Iterator[str]:
    for onnx in contents.onnx:
        report = next(report for report in contents.manifest.parity if report["artifact"] == onnx.path)
        seen, count = report["candidate"], report["images"]["count"]
        status, far = report.get("status", report["outcome"]), f"max {seen['max_mm']:.3g} mm over {count} images"
        judged = f"{status}: mean {seen['mean_mm']:.3g} mm, {far}"
        yield f"| `{onnx.path}` | {onnx.precision} | {onnx.size_bytes / 1e6:.1f} MB | {judged} |"
