"""``README.md`` of a bundle: for whoever has it, and nothing else, before them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from export.bundle.contents import Contents
from export.bundle.goldens import Goldens
from export.bundle.manifest import NOTICES
from export.parity.budgets import Budget
from export.parity.comparison import Limit

Budgets = Mapping[str, tuple[Budget, Sequence[Limit]]]
TEMPLATE = Path(__file__).parent / "templates/README.md"


def bundle_readme(contents: Contents, goldens: Goldens, budgets: Budgets, folder: str) -> str:
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
        "COUNT": str(len(goldens.images)),
        "GOLDENS": goldens.source,
        "BUDGETS": "\n".join(_allowed(budgets)),
        "FOLDER": folder,
        "PRECISION": "fp16" if "fp16" in precisions else precisions[0],
    }.items():
        text = text.replace(f"@{name}@", value)
    return text


def _allowed(budgets: Budgets) -> Iterator[str]:
    for precision, (budget, limits) in budgets.items():
        allowed = ", ".join(f"{limit.statistic} {limit.allowed_mm:.3g} mm{limit.measured_by}" for limit in limits)
        yield f"- **{precision}**: {allowed}: {budget.reason}"


def _rows(contents: Contents) -> Iterator[str]:
    for onnx in contents.onnx:
        report = next(report for report in contents.manifest.parity if report["artifact"] == onnx.path)
        seen, count = report["candidate"], report["images"]["count"]
        status, far = report.get("status", report["outcome"]), f"max {seen['max_mm']:.3g} mm over {count} images"
        judged = f"{status}: mean {seen['mean_mm']:.3g} mm, {far}"
        yield f"| `{onnx.path}` | {onnx.precision} | {onnx.size_bytes / 1e6:.1f} MB | {judged} |"
