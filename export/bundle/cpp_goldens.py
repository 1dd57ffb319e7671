"""The goldens as files that a C++ program reads without a library: raw arrays, and facts of one line each."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from export.bundle.contents import Contents
from export.bundle.goldens import Goldens
from export.model.joint_sets import joint_set
from export.model.pose import CUBE_MM, MEAN, STD
from export.parity.budgets import Budget
from export.parity.comparison import Limit

FOLDER = "golden"


def write_cpp_goldens(
    folder: Path, contents: Contents, goldens: Goldens, budgets: Mapping[str, tuple[Budget, Sequence[Limit]]]
) -> None:
    """Write ``images.u8`` (N, S, S, 3), ``joints.f64`` (N, J, 3), both little-endian, and ``facts.txt``."""
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "images.u8").write_bytes(np.ascontiguousarray(goldens.images).tobytes())
    (folder / FOLDER / "joints.f64").write_bytes(np.ascontiguousarray(goldens.truth, "<f8").tobytes())
    (folder / FOLDER / "facts.txt").write_text("\n".join(_facts(contents, goldens, budgets)) + "\n", encoding="utf-8")


def _facts(
    contents: Contents, goldens: Goldens, budgets: Mapping[str, tuple[Budget, Sequence[Limit]]]
) -> Iterator[str]:
    about = contents.manifest.architecture
    yield f"weights {contents.manifest.weights.origin}"
    yield f"images {len(goldens.images)}"
    yield f"input_size {about.input_size}"
    yield f"heatmap_size {about.heatmap_size}"
    yield f"depth_dim {about.depth_dim}"
    yield f"cube_mm {CUBE_MM!r}"
    yield f"mean {' '.join(map(repr, MEAN))}"
    yield f"std {' '.join(map(repr, STD))}"
    yield f"joints {' '.join(joint_set(about.joints).joints)}"
    for onnx in contents.onnx:
        yield f"onnx {onnx.precision} {onnx.path}"
    for precision, (_, limits) in budgets.items():
        for limit in limits:
            yield f"limit {precision} {limit.statistic} {limit.allowed_mm!r}"
