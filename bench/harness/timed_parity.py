"""Parity of the very session that is timed: its joints against the truth that the export left."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.sessions.exported import ExportFolder
from export.common.errors import BadInput
from export.common.files import UNREADABLE_ARRAYS
from export.common.plain import finite_or_none
from export.parity.budgets import REQUIRED_GRADE, budget_for, status_of
from export.parity.comparison import compare_joints
from export.pipeline.model_steps import TRUTH, plan_paths

KEPT = ("mean_mm", "p99_mm", "max_mm")


class ParityJudge:
    """Judges joints of the first parity images."""

    def __init__(self, exported: ExportFolder) -> None:
        """Read the truth.

        Raises:
            BadInput: the export's truth is missing or damaged.
        """
        path = exported.path / TRUTH
        try:
            with np.load(path) as joints:
                self._truth, self._floor = joints["truth"], joints["reference"]
                self.images = joints["images"]
                """(N, S, S, 3) RGB: what the truth is of."""
        except UNREADABLE_ARRAYS as error:
            do = f"make it again: convnextpose export {exported.manifest.model}"
            raise BadInput(f"cannot read the truth at {path}", str(error), do) from error
        self._volume = exported.volume
        self._manifest = exported.manifest
        self._trained = exported.manifest.weights.origin != "stand-in"
        self._folder = exported.path

    def __call__(self, precision: str, joints: Any) -> Mapping[str, Any]:
        """(n, J, 3) joints of the first n images, in bins → plain data: outcome, reason, distances.

        Without a budget, or without the joints of what stands beside a precision, nothing passes.
        """
        count = len(joints)
        if precision not in REQUIRED_GRADE:
            return {"outcome": "inconclusive", "reason": f"there is no budget for {precision}", "images": count}
        require = self._manifest.grade_required(precision)
        budget, simulation = budget_for(precision, trained=self._trained, require=require), None
        if precision != "fp32":
            try:
                with np.load(self._folder / plan_paths(precision)[2]) as known:
                    simulation = known["simulation"][:count]
            except UNREADABLE_ARRAYS as error:
                reason = f"what rounding alone costs is not known: {error}"
                return {"outcome": "inconclusive", "reason": reason, "images": count}
        found = compare_joints(self._truth[:count], self._floor[:count], joints, self._volume, budget, simulation)
        distances = {name: getattr(found.candidate, name) for name in KEPT}
        said = {"outcome": found.outcome, "status": status_of(found.outcome, budget), "reason": found.reason}
        return {**said, "images": count, **finite_or_none(distances)}
