"""What the sources claim of the models, checked against arithmetic, or against a file.

Without a file the only witnesses are the counts that sources print. Among all networks that the
sources speak of (``published_networks``) a count usually fits just one, and that one then agrees with
or contradicts what is claimed of the structure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from export.model.architecture import BACKBONES, Architecture
from export.model.config import Claim, ModelConfig
from export.model.joint_sets import JOINT_SETS

if TYPE_CHECKING:
    from export.checkpoint.verdict import Verdict

Outcome = Literal["agrees", "contradicted", "cannot tell"]

STRUCTURE = ("backbone", "depths", "dims", "head_channels", "joints", "depth_dim")
COUNTS = ("parameters", "gflops")

DOCUMENT = {
    "note's text": "note",
    "note's table": "note",
    "repository's documentation": "repository",
    "paper": "paper",
}
"""A count is evidence of the file that its document speaks of. Two documents may have had two files."""


@dataclass(frozen=True)
class Finding:
    """One claim and what became of it."""

    model: str
    source: str
    words: str
    field: str
    claimed: Any
    outcome: Outcome
    by: str
    """What agrees with it or contradicts it, or why that cannot be told."""


def audit_by_arithmetic(config: ModelConfig) -> list[Finding]:
    """Check a model's claims against the exact counts of the networks that the sources speak of."""
    networks = published_networks()
    witnesses = [
        (claim, field, fitting)
        for claim in config.claims
        for field in COUNTS
        if field in claim.values()
        and (fitting := [a for a in networks if _count_fits(a, field, claim.values()[field])])
    ]

    def judge(claim: Claim, field: str, value: Any) -> tuple[Outcome, str]:
        if field in COUNTS:
            return _judge_count(claim, field, value, networks)
        if field not in STRUCTURE:
            return "cannot tell", "needs images"
        against = [w for w in witnesses if not any(_structure(a, field) == value for a in w[2])]
        for witness, count, fitting in against:
            if DOCUMENT[witness.source] == DOCUMENT[claim.source]:
                return (
                    "contradicted",
                    f"{witness.source}, {count} {witness.values()[count]}: {_describe(fitting, field)}",
                )
        for witness, count, _ in against:
            return (
                "cannot tell",
                f"{witness.source} says otherwise ({count} {witness.values()[count]}); only a file can",
            )
        for witness, count, fitting in witnesses:
            if all(_structure(a, field) == value for a in fitting):
                return "agrees", f"{witness.source}, {count} {witness.values()[count]}: {_describe(fitting, field)}"
        return "cannot tell", "no printed count shows it; only the file can"

    return list(_each_claim(config, judge))


def audit_by_file(config: ModelConfig, verdict: "Verdict") -> list[Finding]:
    """Check a model's claims against what a file's weights show; what else is used proves nothing."""
    architecture = verdict.architecture
    not_shown = {row.field: row for row in verdict.rows if row.source != "weights"}

    def judge(claim: Claim, field: str, value: Any) -> tuple[Outcome, str]:
        if field in not_shown:
            row = not_shown[field]
            return "cannot tell", f"weights do not show it; used is {row.used} ({row.source})"
        if field in STRUCTURE:
            found = _structure(architecture, field)
            shown = list(found) if isinstance(found, tuple) else found
            return ("agrees" if found == value else "contradicted"), f"the file's weights: {field} {shown}"
        if field == "parameters":
            fits = _count_fits(architecture, field, value)
            return ("agrees" if fits else "contradicted"), f"the file's weights: {_counts(architecture)}"
        if field == "gflops":
            by = f"weights do not show upsamplings; with {architecture.upsamplings} it has {_gmacs(architecture)}"
            return "cannot tell", by
        return "cannot tell", "needs images"

    return list(_each_claim(config, judge))


def published_networks() -> list[Architecture]:
    """Every combination of what the sources speak of."""
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


def _judge_count(claim: Claim, field: str, value: str, networks: list[Architecture]) -> tuple[Outcome, str]:
    said = {f: v for f, v in claim.values().items() if f in STRUCTURE}
    possible = [a for a in networks if all(_structure(a, f) == v for f, v in said.items())]
    fitting = [a for a in possible if _count_fits(a, field, value)]
    if fitting:
        return "agrees", _describe(fitting, field)
    return "contradicted", f"no network of the claimed structure has it; nearest: {_nearest(possible, field, value)}"


def _structure(architecture: Architecture, field: str) -> Any:
    return getattr(architecture, field)


def _count_fits(architecture: Architecture, field: str, printed: str) -> bool:
    """Whether the exact count, rounded to the printed digits, is what was printed."""
    number = Decimal(printed.removesuffix("M"))
    half_digit = Decimal(1).scaleb(int(number.as_tuple().exponent)) / 2
    return any(abs(count / unit - number) <= half_digit for count, unit in _exact(architecture, field, printed))


def _exact(architecture: Architecture, field: str, printed: str) -> list[tuple[Decimal, int]]:
    """The counts that ``field`` may mean, with their unit: sources call both of two things parameters."""
    if field == "gflops":
        return [(Decimal(architecture.macs), 10**9)]
    unit = 10**6 if printed.endswith("M") else 1
    return [(Decimal(architecture.parameters), unit), (Decimal(architecture.state_elements), unit)]


def _describe(fitting: list[Architecture], field: str) -> str:
    """The networks in one phrase: what they all share of the fields that matter, and a count."""
    fields = ("backbone", "head_channels", "joints", "depth_dim")
    shared = [f for f in fields if len({_structure(a, f) for a in fitting}) == 1]
    parts = [f"{f} {_short(_structure(fitting[0], f))}" for f in shared]
    if len({a.upsamplings for a in fitting}) == 1:
        parts.append(f"upsamplings {fitting[0].upsamplings}")
    count = _gmacs(fitting[0]) if field == "gflops" else _counts(fitting[0])
    if len({(a.parameters, a.macs if field == "gflops" else 0) for a in fitting}) > 1:
        count = f"{len(fitting)} networks fit"
    return f"{', '.join(parts)} ({count})"


def _nearest(possible: list[Architecture], field: str, printed: str) -> str:
    number = Decimal(printed.removesuffix("M"))
    near = min(possible, key=lambda a: min(abs(c / u - number) for c, u in _exact(a, field, printed)))
    return _describe([near], field)


def _counts(architecture: Architecture) -> str:
    return f"{architecture.parameters:,} parameters, {architecture.state_elements:,} state elements"


def _gmacs(architecture: Architecture) -> str:
    return f"{architecture.macs / 1e9:.3f} GMACs"


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value
