"""Parity check of the session that is timed: its joints against the ground truth that the export stored."""

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.sessions.exported import ExportFolder
from export.common.errors import BadInput
from export.common.files import UNREADABLE_ARRAYS
from export.common.plain import finite_or_none
from export.parity.budgets import REQUIRED_GRADE, budget_for, status_of
from export.parity.comparison import compare_joints, fp32_factor
from export.pipeline.layout import TRUTH, plan_paths

STATISTICS = ("mean_mm", "p99_mm", "max_mm")


class ParityCheck:
    """Parity check of joints on an export's first parity images."""

    def __init__(self, exported: ExportFolder) -> None:
        """Read the ground truth.

        Raises:
            BadInput: the export's ground truth is missing or damaged.
        """
        path = exported.path / TRUTH
        try:
            with np.load(path) as joints:
                self._truth, self._floor = joints["truth"], joints["reference"]
                self.images = joints["images"]
                """(N, S, S, 3) RGB."""
        except UNREADABLE_ARRAYS as error:
            do = f"export again: convnextpose export {exported.manifest.model}"
            raise BadInput(f"cannot read the ground truth at {path}", str(error), do) from error
        self._volume = exported.volume
        self._manifest = exported.manifest
        self._trained = exported.manifest.weights.origin != "stand-in"
        self._folder = exported.path

    def __call__(self, precision: str, joints: Any) -> Mapping[str, Any]:
        """Compare (n, J, 3) joints of the first n images, in bins, with the ground truth.

        Returns:
            Outcome, status, reason and errors as plain data. A precision without a budget, or without the joints of
            its simulation, never passes.
        """
        count = len(joints)
        if precision not in REQUIRED_GRADE:
            return {"outcome": "inconclusive", "reason": f"there is no budget for {precision}", "images": count}
        require = self._manifest.grade_required(precision)
        budget, simulation = budget_for(precision, trained=self._trained, require=require), None
        if precision != "fp32":
            try:
                with np.load(self._folder / plan_paths(precision).simulation) as arrays:
                    simulation = arrays["simulation"][:count]
            except UNREADABLE_ARRAYS as error:
                reason = f"cannot read the error of rounding alone: {error}"
                return {"outcome": "inconclusive", "reason": reason, "images": count}
        parity = compare_joints(
            *(self._truth[:count], self._floor[:count], joints, self._volume, budget, simulation),
            sums_in_fp32=False,
            factor_to_fp32=fp32_factor(platform.machine()),
        )
        return {
            "outcome": parity.outcome,
            "status": status_of(parity.outcome, budget),
            "reason": parity.reason,
            "images": count,
            **finite_or_none({name: getattr(parity.candidate, name) for name in STATISTICS}),
        }
