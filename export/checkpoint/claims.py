"""Audit of published claims about the models, by arithmetic or against a checkpoint.

Without a checkpoint, the only evidence is the counts that sources print. Of all networks that the sources mention
(``published_networks``), a count usually fits one. That network agrees with the claimed structure or contradicts it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

from export.checkpoint.records import Finding, Outcome
from export.model.architecture import BACKBONES, Architecture
from export.model.config import Claim, ModelConfig
from export.model.joint_sets import JOINT_SETS

if TYPE_CHECKING:
    from export.checkpoint.verdict import Verdict

STRUCTURE = ("backbone", "depths", "dims", "head_channels", "joints", "depth_dim", "upsamplings")
COUNTS = ("parameters", "gflops")

DOCUMENT = {
    "note's text": "note",
    "note's table": "note",
    "repository's documentation": "repository",
    "paper": "paper",
    "public copy": "public copy",
}
"""Source → document. A count is evidence only within its document: two documents may describe two files."""


@dataclass(frozen=True)
class Witness:
    """A printed count, and the published networks that it fits."""

    claim: Claim
    field: str
    value: str
    networks: list[Architecture]

    def __str__(self) -> str:
        return f"{self.claim.source}, {self.field} {self.value}"


def audit_by_arithmetic(config: ModelConfig) -> list[Finding]:
    """Check a model's claims against the exact counts of the published networks."""
    networks = published_networks()
    witnesses = [
        Witness(claim, field, value, fitting)
        for claim in config.claims
        for field, value in claim.values().items()
        if field in COUNTS and (fitting := [a for a in networks if _count_fits(a, field, value)])
    ]

    def judge(claim: Claim, field: str, value: Any) -> tuple[Outcome, str]:
        if field in COUNTS:
            return _judge_count(claim, field, value, networks)
        if field not in STRUCTURE:
            return "inconclusive", "needs images"
        return _judge_structure(claim, field, value, witnesses)

    return list(_each_claim(config, judge))


def audit_by_file(config: ModelConfig, verdict: "Verdict") -> list[Finding]:
    """Check a model's claims against a checkpoint's weights; values from other sources prove nothing."""
    architecture = verdict.architecture
    assumed = {row.field: row for row in verdict.rows if row.source != "weights"}

    def judge(claim: Claim, field: str, value: Any) -> tuple[Outcome, str]:
        if field in assumed:
            row = assumed[field]
            return "inconclusive", f"weights do not show it; used is {row.used} ({row.source})"
        if field in STRUCTURE:
            detected = getattr(architecture, field)
            text = list(detected) if isinstance(detected, tuple) else detected
            return ("agrees" if detected == value else "contradicted"), f"the file's weights: {field} {text}"
        if field == "parameters":
            fits = _count_fits(architecture, field, value)
            return ("agrees" if fits else "contradicted"), f"the file's weights: {_counts(architecture)}"
        if field == "gflops":
            by = f"weights do not show upsamplings; with {architecture.upsamplings} it has {_gmacs(architecture)}"
            return "inconclusive", by
        return "inconclusive", "needs images"

    return list(_each_claim(config, judge))


def published_networks() -> list[Architecture]:
    """Return every combination of the values that the sources mention."""
    return [
        Architecture(depths, dims, (head,) * 3, (3,) * 3, len(joints.joints), depth_dim, upsamplings)
        for (depths, dims), head, joints, depth_dim, upsamplings in product(
            BACKBONES.values(), (128, 256, 512), JOINT_SETS, (32, 64), (2, 3)
        )
    ]


def _each_claim(config: ModelConfig, judge: Callable[[Claim, str, Any], tuple[Outcome, str]]) -> Iterator[Finding]:
    for claim in config.claims:
        for field, value in claim.values().items():
            outcome, by = judge(claim, field, value)
            yield Finding(config.name, claim.source, claim.words.strip(), field, value, outcome, by)


def _judge_structure(claim: Claim, field: str, value: Any, witnesses: Sequence[Witness]) -> tuple[Outcome, str]:
    against = [w for w in witnesses if not any(getattr(a, field) == value for a in w.networks)]
    for witness in against:
        if DOCUMENT[witness.claim.source] == DOCUMENT[claim.source]:
            return "contradicted", f"{witness}: {_describe(witness.networks, field)}"
    if against:
        first = against[0]
        return "inconclusive", f"{first.claim.source} says otherwise ({first.field} {first.value}); only a file can"
    for witness in witnesses:
        if all(getattr(a, field) == value for a in witness.networks):
            return "agrees", f"{witness}: {_describe(witness.networks, field)}"
    return "inconclusive", "no printed count shows it; only the file can"


def _judge_count(claim: Claim, field: str, value: str, networks: list[Architecture]) -> tuple[Outcome, str]:
    structure = {f: v for f, v in claim.values().items() if f in STRUCTURE}
    possible = [a for a in networks if all(getattr(a, f) == v for f, v in structure.items())]
    fitting = [a for a in possible if _count_fits(a, field, value)]
    if fitting:
        return "agrees", _describe(fitting, field)
    number = Decimal(value.removesuffix("M"))
    nearest = min(possible, key=lambda a: min(abs(c / unit - number) for c, unit in _exact(a, field, value)))
    return "contradicted", f"no network of the claimed structure has it; nearest: {_describe([nearest], field)}"


def _count_fits(architecture: Architecture, field: str, printed: str) -> bool:
    """Return whether the exact count, rounded to the printed digits, is the printed one."""
    number = Decimal(printed.removesuffix("M"))
    half_digit = Decimal(1).scaleb(int(number.as_tuple().exponent)) / 2
    return any(abs(count / unit - number) <= half_digit for count, unit in _exact(architecture, field, printed))


def _exact(architecture: Architecture, field: str, printed: str) -> list[tuple[Decimal, int]]:
    """Return the counts that ``field`` may mean, with their unit: sources call two different counts parameters."""
    if field == "gflops":
        return [(Decimal(architecture.macs), 10**9)]
    unit = 10**6 if printed.endswith("M") else 1
    return [(Decimal(architecture.parameters), unit), (Decimal(architecture.state_elements), unit)]


def _describe(networks: Sequence[Architecture], field: str) -> str:
    """Return the relevant fields that the networks share, and a count."""
    first = networks[0]
    shared = [
        f for f in ("backbone", "head_channels", "joints", "depth_dim") if len({getattr(a, f) for a in networks}) == 1
    ]
    parts = [f"{f} {_short(getattr(first, f))}" for f in shared]
    if len({a.upsamplings for a in networks}) == 1:
        parts.append(f"upsamplings {first.upsamplings}")
    count = _gmacs(first) if field == "gflops" else _counts(first)
    if len({(a.parameters, a.macs if field == "gflops" else 0) for a in networks}) > 1:
        count = f"{len(networks)} networks fit"
    return f"{', '.join(parts)} ({count})"


def _counts(architecture: Architecture) -> str:
    return f"{architecture.parameters:,} parameters, {architecture.state_elements:,} state elements"


def _gmacs(architecture: Architecture) -> str:
    return f"{architecture.macs / 1e9:.3f} GMACs"


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value
