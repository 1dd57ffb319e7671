"""Output of ``inspect`` and ``claims``: the verdict on a checkpoint, its problems, and evidence from images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.console import out, table
from cli.render.screen import command, print_frame
from cli.render.text import number, optional, outcome, safe
from export.checkpoint.records import Counts, Finding, NearestModel, VerdictRow
from export.common.plain import group_names, show_list
from export.model.config import Alternative
from export.pipeline.options import describe_nearest

if TYPE_CHECKING:
    from export.checkpoint.evidence import Problem
    from export.checkpoint.inspection import ImageInspection, Inspection
    from export.images.norm_statistics import ImageStatistics

MOST_PROBLEMS = 100
"""Rows of the table of contradictions."""
FINDING_STYLE = {"fits": "green", "unclear": "yellow", "does not fit": "dim", "does not follow": "dim"}
STATISTICS_STYLE = {"known": "green", "unknown": "red", "not available": "yellow"}


def print_inspection(inspection: "Inspection") -> None:
    """Print a checkpoint's container, the verdict on it, and its comparison with images."""
    checkpoint, record = inspection.checkpoint, inspection.record
    epoch = f", epoch {record.epoch}" if record.epoch is not None else ""
    location = f", weights under {record.location!r}" if record.location else ""
    header = f"{checkpoint.path}: {record.container}{location}{epoch}, {', '.join(record.dtypes)}"
    out.print(safe(header))
    out.print(f"sha256 {checkpoint.sha256}")
    print_other_networks(record.location, record.other_networks)
    out.print(f"compared with the declared {inspection.model} ({inspection.chosen_by}){_equally_near(inspection)}")
    if inspection.alternative:
        out.print(f"architecture: {describe_alternative(inspection.model, inspection.alternative)}")
    print_verdict(record.verdict, record.nearest_models, record.counts)
    print_frame(count_notice(record.verdict, inspection.other_counts, checkpoint.path))
    print_contradicted_claims(record.claims)
    if inspection.images is not None:
        _print_statistics(inspection.images.statistics)
        _print_upsamplings(inspection.images)


def describe_alternative(model: str, alternative: Alternative) -> str:
    """Return that the architecture is that of a model's published alternative."""
    return escape(f"that of {alternative.model}, the published {model} (source: {alternative.source})")


def print_other_networks(location: str | None, other_keys: Sequence[str]) -> None:
    """Print which network is used, if the file holds several."""
    if other_keys:
        text = f"{location!r} is used; the file also holds {', '.join(map(repr, other_keys))}: --weights-key chooses"
        out.print(f"[yellow bold]notice:[/] {safe(text)}")


def _equally_near(inspection: "Inspection") -> str:
    """Return the other declared models that fit as well as the one that the checkpoint is compared with."""
    names = [near.model for near in inspection.record.nearest_models]
    equal = [name for name in names if name != inspection.model] if inspection.model in names else []
    return f"; {' and '.join(equal)} {'fit' if len(equal) > 1 else 'fits'} equally well" if equal else ""


def count_notice(
    rows: Sequence[VerdictRow], alternatives: Mapping[int, Sequence[str]] | None = None, checkpoint: object = None
) -> list[str]:
    """Return a notice if a rule decides the upsampling count, and a declared model with these layers has another.

    Args:
        rows: the verdict.
        alternatives: other counts, with the declared models that may have them.
        checkpoint: its path.
    """
    row = next(row for row in rows if row.field == "upsamplings")
    if row.source != "rule" or (row.agrees and not alternatives):
        return []
    texts = [f"{' and '.join(models)} would have {count}" for count, models in (alternatives or {}).items()]
    return [
        f"The upsampling count is a rule, here {row.used}: {'; '.join([row.reason, *texts])}.",
        f"check it with: {command('inspect', checkpoint or 'FILE', '--images', 'DIR')}",
    ]


def print_verdict(rows: Sequence[VerdictRow], nearest: Sequence[NearestModel], counts: Counts) -> None:
    """Print the declared, the detected and the used value of each field, and its source."""
    grid = table("field", "declared", "in weights", "used", "source")
    for row in rows:
        mark = "" if row.agrees else "[yellow]"
        values = (show_list(row.declared), show_list(row.detected), show_list(row.used))
        grid.add_row(*(mark + escape(cell) for cell in (row.field, *values, row.source)))
    out.print("\n[bold]Architecture[/]")
    out.print(grid)
    for reason, fields in group_names((row.field, row.reason) for row in rows).items():
        out.print(f"[dim]{', '.join(fields)}:[/] {safe(reason)}")
    wrong = [row.field for row in rows if not row.agrees]
    if wrong:
        out.print(f"[yellow bold]notice:[/] not as declared in {', '.join(wrong)}; the table has the used values")
    out.print(
        f"{counts.parameters:,} parameters, {counts.state_elements:,} state elements, {counts.macs / 1e9:.3f} GMACs; "
        f"nearest declared: {escape(describe_nearest(nearest))}"
    )


def print_problems(problems: Sequence["Problem"]) -> None:
    """Print all contradictions between tensors of a checkpoint."""
    grid = table("where", "found", "expected")
    for problem in problems[:MOST_PROBLEMS]:
        grid.add_row(safe(problem.where), safe(problem.value), safe(problem.expected))
    out.print("\n[bold]Contradictions in the weights[/]")
    out.print(grid)
    if len(problems) > MOST_PROBLEMS:
        out.print(f"and {len(problems) - MOST_PROBLEMS} more")


def print_contradicted_claims(findings: Sequence[Finding]) -> None:
    """Print the claims that a checkpoint contradicts, if there are any."""
    if any(finding.outcome == "contradicted" for finding in findings):
        print_contradicted(findings, "Claims that this checkpoint contradicts")


def print_contradicted(findings: Sequence[Finding], title: str) -> None:
    """Print the contradicted claims, and the number of the others."""
    contradicted = [finding for finding in findings if finding.outcome == "contradicted"]
    print_claims(contradicted, title)
    out.print(f"{len(contradicted)} of {len(findings)} claims contradicted; `claims FILE --all` shows all")


def print_claims(findings: Sequence[Finding], title: str) -> None:
    """Print each source's claims with their outcome; claims with the same outcome and evidence share a row."""
    grid = table("model", "source", "claim", "outcome", "evidence")
    groups = group_names((f"{f.field} {show_list(f.claimed)}", (f.model, f.source, f.outcome, f.by)) for f in findings)
    for (model, source, result, evidence), claims in groups.items():
        grid.add_row(model, source, escape("; ".join(claims)), outcome(result), escape(evidence))
    out.print(f"\n[bold]{escape(title)}[/]" + ("" if findings else ": none"))
    if findings:
        out.print(grid)


def _print_statistics(statistics: "ImageStatistics") -> None:
    """Print whether the network knows the images, with the mismatch of all norms."""
    grid = table("BatchNorm statistics", "images", "mean shift", "allowed", "log variance ratio", "allowed")
    limits = statistics.limits
    mismatch = (
        *(statistics.mean_shift, limits.mean_shift),
        *(statistics.log_variance_ratio, limits.log_variance_ratio),
    )
    verdict = f"[{STATISTICS_STYLE[statistics.verdict]}]{statistics.verdict}[/]"
    grid.add_row(verdict, str(statistics.images), *(optional(value, ".3f") for value in mismatch))
    out.print("[bold]Images compared with those of the training[/]")
    out.print(grid)
    if statistics.verdict != "known":
        out.print(safe(statistics.reason))


def _print_upsamplings(images: "ImageInspection") -> None:
    """Print the evidence of images for each upsampling count."""
    evidence = images.upsamplings
    grid = table(
        *("upsamplings", "map", "missed when turned", "when mirrored", "centre off by (px)", "allowed (px)"),
        "finding",
    )
    for row in evidence.candidates:
        grid.add_row(
            str(row.upsamplings),
            f"{row.heatmap_size}×{row.heatmap_size}",
            number(row.turned_missed, ".0%"),
            number(row.mirrored_missed, ".0%"),
            f"{number(row.offset_px, '.1f')} ± {number(row.uncertainty_px, '.1f')}",
            number(row.allowed_px, ".1f"),
            f"[{FINDING_STYLE[row.finding]}]{row.finding}[/]",
        )
    out.print("[bold]Upsamplings, from images[/]")
    crops = images.crops
    square = f"; {crops.made_square} not square: the whole image as the person's box" if crops.made_square else ""
    count = f"{evidence.images} of {crops.files} images, each as the crop of one person{square}"
    out.print(safe(f"{images.folder}: {count}"))
    if crops.unreadable:
        out.print(safe(f"no image in {', '.join(crops.unreadable)}"))
    out.print(grid)
    if evidence.decided is None:
        text = f"[yellow bold]inconclusive[/] from these images: {escape(evidence.reason)}"
    elif images.agrees:
        text = f"[green bold]confirmed:[/] upsamplings={images.used}; {escape(evidence.reason)}"
    else:
        text = (
            f"[red bold]contradicted:[/] upsamplings={images.used} is used, the images show {evidence.decided}: "
            f"{escape(evidence.reason)}. Pass --set upsamplings={evidence.decided}"
        )
    out.print(text)
