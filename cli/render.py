"""Tables: views of the JSON that the commands write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cli.console import err, out, printable, show_list, table
from export.manifest import Counts, Manifest, Nearest, VerdictRow
from export.options import name_nearest
from export.request import Request

if TYPE_CHECKING:
    from export.evidence import Problem

OUTCOME_STYLE = {"agrees": "green", "pass": "green", "contradicted": "red", "fail": "red", "inconclusive": "yellow"}

FINDING_STYLE = {"fits": "green", "unclear": "yellow", "does not fit": "dim", "does not follow": "dim"}

NOISY_ABOVE = 1.25
"""An interval whose ends differ by more than this says little but that other work was going on."""


def weights_line(request: Request, *, asked: bool) -> None:
    """Say where the weights come from, before anything else is said."""
    if request.origin != "checkpoint":
        files = ", ".join(request.config.files) or "the configuration names no file"
        others = sorted(p.name for p in Path("weights").glob("*") if p.name != "README.md")
        also = f"; what lies there: {', '.join(others)}" if others else ""
        err.print(escape(f"no checkpoint in weights/ (looked for: {files}{also})"), soft_wrap=True)
        meaning = "trained on drawn figures: its poses are real, but say nothing about people"
        if request.origin == "stand-in":
            meaning = "latency is meaningful, poses are not"
        err.print(f"[yellow bold]weights: {request.origin}[/] — {meaning}")
        return
    found = "" if asked else " (found in weights/)"
    err.print(f"weights: {escape(str(request.checkpoint))}{found}", soft_wrap=True)


def weights(result: Mapping[str, Any]) -> None:
    """What the weights are, as soon as that is known, and the claims that they contradict."""
    rows = [VerdictRow(**row) for row in result["verdict"]]
    verdict(rows, [Nearest(**near) for near in result["nearest_models"]], Counts(**result["counts"]))
    contradicted = [claim for claim in result["claims"] if claim["outcome"] == "contradicted"]
    if contradicted:
        claims(contradicted, "Claims that this checkpoint contradicts")
    out.print()


def verdict(rows: Sequence[VerdictRow], nearest: Sequence[Nearest], counts: Counts) -> None:
    """Declared, found, used, and where each value came from."""
    shown = table("field", "declared", "found in weights", "used", "source", "by")
    for row in rows:
        mark = "" if row.agrees else "[yellow]"
        cells = (row.field, show_list(row.declared), show_list(row.found), show_list(row.used), row.source, row.why)
        shown.add_row(*(mark + escape(cell) for cell in cells))
    out.print("\n[bold]What the network is[/]")
    out.print(shown)
    wrong = [row.field for row in rows if not row.agrees]
    if wrong:
        out.print(f"[yellow bold]notice:[/] not as declared in {', '.join(wrong)}; what is used stands in the table")
    out.print(
        f"{counts.parameters:,} parameters, {counts.state_elements:,} state elements, {counts.macs / 1e9:.3f} GMACs; "
        f"nearest declared: {escape(name_nearest([near.model_dump() for near in nearest]))}"
    )


def upsamplings(seen: Mapping[str, Any]) -> None:
    """What images say of the count that weights do not show."""
    shown = table(
        *("upsamplings", "map", "missed when turned", "when mirrored", "centre off by, px", "allowed, px"),
        *("entropy", "mean to mode, mm", "finding"),
    )
    for row in seen["candidates"]:
        shown.add_row(
            str(row["upsamplings"]),
            f"{row['heatmap_size']}×{row['heatmap_size']}",
            _share(row["turned_missed"]),
            _share(row["mirrored_missed"]),
            f"{_decimal(row['offset_px'])} ± {_decimal(row['uncertainty_px'])}",
            _decimal(row["allowed_px"]),
            _share(row["entropy_share"]),
            _number(row["mode_distance_mm"]),
            f"[{FINDING_STYLE[row['finding']]}]{row['finding']}[/]",
        )
    out.print("[bold]Upsamplings, from images[/]")
    out.print(escape(printable(f"{seen['folder']}: {_taken(seen)}")), soft_wrap=True)
    if seen["unreadable"]:
        out.print(escape(printable(f"no image in {', '.join(seen['unreadable'])}")), soft_wrap=True)
    out.print(shown)
    if seen["decided"] is None:
        out.print(f"[yellow bold]cannot tell[/] from these images: {escape(seen['reason'])}", soft_wrap=True)
    elif seen["agrees"]:
        out.print(f"[green bold]confirmed:[/] upsamplings={seen['used']}; {escape(seen['reason'])}", soft_wrap=True)
    else:
        out.print(
            f"[red bold]contradicted:[/] upsamplings={seen['used']} is used, the images say {seen['decided']}: "
            f"{escape(seen['reason'])}. Pass --set upsamplings={seen['decided']}",
            soft_wrap=True,
        )


def _taken(seen: Mapping[str, Any]) -> str:
    taken = f"{seen['images']} of {seen['found']} images, each taken as the crop of one person"
    if seen["made_square"]:
        taken += f"; {seen['made_square']} not square: the whole image as the person's box"
    return taken


def problems(found: Sequence["Problem"]) -> None:
    """Everything in which the weights contradict themselves."""
    shown = table("where", "seen", "expected")
    for problem in found:
        shown.add_row(*(escape(printable(text)) for text in (problem.where, problem.seen, problem.expected)))
    out.print("\n[bold]What contradicts itself in the weights[/]")
    out.print(shown)


def parity(manifest: Manifest) -> None:
    """How far each artefact is from the truth, beside the FP32 reference's own distance."""
    shown = table("artefact", "verdict", "mean mm", "p99 mm", "max mm", "max bins", "max pixels")
    for result in manifest.parity:
        style = OUTCOME_STYLE[result["outcome"]]
        for name, outcome, distances in (
            (result["artifact"], f"[{style}]{result['outcome']}[/]", result["candidate"]),
            ("PyTorch FP32 reference", "–", result["reference"]),
        ):
            keys = ("mean_mm", "p99_mm", "max_mm", "max_bins", "max_pixels")
            shown.add_row(name, outcome, *(_number(distances[key]) for key in keys))
    out.print(f"\n[bold]Parity with the network as released, in FP64[/]{_origin(manifest)}")
    out.print(shown)
    for result in manifest.parity:
        signal = result["signal"]
        out.print(
            f"{result['precision']}: {escape(result['reason'])}; {result['images']['count']} "
            f"{result['images']['source']}, batches {', '.join(result['batches'])}, "
            f"run by {result['runtime']}\n"
            f"signal: joints spread {_number(signal['over_images_mm'])} mm over images, "
            f"{_number(signal['over_joints_mm'])} mm over joints"
        )


def latency(result: Mapping[str, Any], manifest: Manifest) -> None:
    """The first latency table."""
    shown = table("runtime", "precision", "threads", "median ms", "speed-up [95 % interval]")
    for row in result["rows"]:
        interval = f"{row['speed_up']:.2f} \\[{row['speed_up_low']:.2f}, {row['speed_up_high']:.2f}]"
        if row["speed_up"] == row["speed_up_low"] == row["speed_up_high"] == 1:
            interval = "–"
        elif row["speed_up_high"] > NOISY_ABOVE * row["speed_up_low"]:
            interval += " [yellow]noisy: the machine was busy[/]"
        shown.add_row(row["runtime"], row["precision"], str(row["threads"]), f"{row['latency_ms']:.2f}", interval)
    out.print(f"\n[bold]First latency table[/], one image, host to host{_origin(manifest)}")
    out.print(shown)
    machine = result["machine"]
    out.print(f"{escape(str(machine['cpu']))}, {machine['cores']} cores; {result['protocol']}")


def artifacts(manifest: Manifest, path: Path) -> None:
    """What lies in the folder, and what could not be made."""
    shown = table("artefact", "precision", "size", "status")
    for artifact in manifest.artifacts:
        shown.add_row(artifact.path, artifact.precision, f"{artifact.size_bytes / 1e6:.1f} MB", escape(artifact.status))
    for missing in manifest.not_run:
        shown.add_row(missing.kind, missing.precision, "–", f"[yellow]{missing.status}:[/] {escape(missing.reason)}")
    out.print(f"\n[bold]{escape(str(path.parent))}[/]{_origin(manifest)}")
    out.print(shown)
    out.print(f"everything about them: {escape(str(path))}")


def claims(findings: Sequence[Mapping[str, Any]], title: str) -> None:
    """What each source claims, and what became of it; the same judgement is printed once for all it covers."""
    shown = table("model", "source", "claim", "outcome", "by")
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for finding in findings:
        key = (finding["model"], finding["source"], finding["outcome"], finding["by"])
        claim = f"{finding['field']} {show_list(finding['claimed'])}"
        if claim not in grouped.setdefault(key, []):
            grouped[key].append(claim)
    for (model, source, outcome, by), claimed in grouped.items():
        style = OUTCOME_STYLE.get(outcome, "yellow")
        shown.add_row(model, source, escape("; ".join(claimed)), f"[{style}]{outcome}[/]", escape(by))
    out.print(f"\n[bold]{escape(title)}[/]" + ("" if findings else ": none"))
    if findings:
        out.print(shown)


def _origin(manifest: Manifest) -> str:
    origin = manifest.weights.origin
    return f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _decimal(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.0%}"
