"""Text files of a bundle and of a Triton repository: templates, ``README.md`` and ``licences/``."""

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from export.bundle.contents import Contents
from export.bundle.goldens import Budgets, Goldens
from export.bundle.manifest import NOTICES
from export.common.files import PROJECT

TEMPLATES = Path(__file__).parent / "templates"
DISTRIBUTION = "convnextpose-deploy"
"""Name of this project for pip."""

WEIGHTS = {
    "stand-in": "made by this tool from random numbers, free to use, and of use for latency only",
    "demo": "trained by this project on drawn figures, under the licence beside this file",
    "checkpoint": "from the checkpoint with this SHA-256: {sha256}. Its author decides about its use; ask them",
}
IMAGES = {
    True: "This project drew them, under the licence beside this file.",
    False: "They belong to the author of this bundle. Showing people in them may need their consent; ask the author.",
}


def fill_template(name: str, values: Mapping[str, object]) -> str:
    """Return a template's text with a value in place of every ``@NAME@``."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda match: str(values[match[1]]), text)


def describe_origin(origin: str) -> str:
    """Return the origin of weights, with its notice if it has one."""
    notice = NOTICES[origin]
    return f"{origin} — {notice}" if notice else origin


def bundle_readme(contents: Contents, goldens: Goldens, budgets: Budgets, folder: str) -> str:
    """Return the text; it cannot contain the bundle's id, which depends on it."""
    manifest = contents.manifest
    precisions = [onnx.precision for onnx in contents.onnx]
    values = {
        "MODEL": contents.model,
        "JOINTS": manifest.architecture.joints,
        "PARAMETERS": f"{manifest.counts.parameters:,}",
        "ORIGIN": describe_origin(manifest.weights.origin),
        "WEIGHTS": manifest.weights.sha256,
        "ROWS": "\n".join(_parity_rows(contents)),
        "COUNT": len(goldens.images),
        "GOLDENS": goldens.source,
        "BUDGETS": "\n".join(_budget_lines(budgets)),
        "FOLDER": folder,
        "PRECISION": "fp16" if "fp16" in precisions else precisions[0],
    }
    return fill_template("README.md", values)


def write_licences(folder: Path, contents: Contents, goldens: Goldens) -> None:
    """Write this project's licence, and the origin of network, weights and images."""
    (folder / "licences").mkdir()
    (folder / "licences/LICENSE").write_text(licence(), encoding="utf-8")
    weights = contents.manifest.weights
    text = (
        "# Origin and licences\n\n"
        "- The code (`pose_runtime/`, `pose_verify/`, `cpp/`, the scripts beside this folder): MIT, see `LICENSE`.\n"
        "- The network, ConvNeXtPose, is its authors' work (IEEE Access 2023).\n"
        f"- The weights in `onnx/`: {WEIGHTS[weights.origin].format(sha256=weights.sha256)}.\n"
        f"- The images in `golden.npz` and `golden/`: {goldens.source}. {IMAGES[goldens.drawn]}\n"
    )
    (folder / "licences/NOTICE.md").write_text(text, encoding="utf-8")


def licence() -> str:
    """Return this project's licence, from its sources or from where pip installed it."""
    path = PROJECT / "LICENSE"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return metadata.distribution(DISTRIBUTION).read_text("licenses/LICENSE") or ""


def _budget_lines(budgets: Budgets) -> Iterator[str]:
    for precision, (budget, limits) in budgets.items():
        allowed = ", ".join(f"{limit.statistic} {limit.allowed_mm:.3g} mm{limit.measured_by}" for limit in limits)
        yield f"- **{precision}**: {allowed}: {budget.reason}"


def _parity_rows(contents: Contents) -> Iterator[str]:
    for onnx in contents.onnx:
        report = contents.parity_of(onnx)
        error, status = report.candidate, report.status
        errors = f"mean {error.mean_mm:.3g} mm, max {error.max_mm:.3g} mm over {report.images.count} images"
        yield f"| `{onnx.path}` | {onnx.precision} | {onnx.size_bytes / 1e6:.1f} MB | {status}: {errors} |"
