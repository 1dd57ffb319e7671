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
    from bench.doctor import Capability
    from bench.facts import Answer, Facts
    from export.evidence import Problem

OUTCOME_STYLE = {"agrees": "green", "pass": "green", "contradicted": "red", "fail": "red", "inconclusive": "yellow"}


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


def artifacts(manifest: Manifest, path: Path, recipe: Path | None) -> None:
    """What lies in the folder, and what could not be made."""
    shown = table("artefact", "precision", "size", "status")
    for artifact in manifest.artifacts:
        shown.add_row(artifact.path, artifact.precision, f"{artifact.size_bytes / 1e6:.1f} MB", escape(artifact.status))
    for missing in manifest.not_run:
        shown.add_row(missing.kind, missing.precision, "–", f"[yellow]{missing.status}:[/] {escape(missing.reason)}")
    out.print(f"\n[bold]{escape(str(path.parent))}[/]{_origin(manifest)}")
    out.print(shown)
    out.print(f"everything about them: {escape(str(path))}")
    if recipe is not None:
        out.print(f"how to build and time engines on the device: {escape(str(recipe))}")


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


def prediction(record: Mapping[str, Any], picture: Path) -> None:
    """Where the joints are, and where to look."""
    true_mm = record["joints_camera_mm"] is not None
    shown = table("joint", "x px", "y px", "x mm", "y mm", "z mm")
    space = record["joints_camera_mm"] or record["joints_cube_mm"]
    for name, flat, mm in zip(record["joint_names"], record["joints_image_px"], space, strict=True):
        shown.add_row(name, *(f"{value:.1f}" for value in flat), *(f"{value:.0f}" for value in mm))
    out.print(shown)
    measure = "mm are the camera's" if true_mm else "mm are the cube's: true only if the crop is 2000 mm wide"
    out.print(f"pixels are the photo's; {measure}")
    out.print(f"picture: {escape(str(picture))}", soft_wrap=True)


def prediction_notes(record: Mapping[str, Any]) -> None:
    """What was done to the photo, and what looks wrong with it."""
    for text in record["notes"]:
        err.print(f"note: {escape(text)}", soft_wrap=True)
    for text in record["warnings"]:
        err.print(f"[yellow bold]warning:[/] {escape(text)}", soft_wrap=True)
    if record["weights"]["origin"] != "checkpoint":
        err.print(f"[yellow bold]weights: {record['weights']['origin']}[/] — what is seen says nothing about people")


def dataset_notes(notes: Sequence[str], done: int, total: int) -> None:
    """What a user must know of a dataset, and where a run goes on."""
    for text in notes:
        err.print(f"note: {escape(text)}", soft_wrap=True)
    if done:
        err.print(f"going on after {done} of {total} samples, which an earlier run has done")


def accuracy(record: Mapping[str, Any], report: Path) -> None:
    """Every model's errors, per joint and per group."""
    rows, data, origin = record["contenders"], record["dataset"], record["weights"]["origin"]
    mark = f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""
    shown = table("model", "precision", "MPJPE mm", "PA-MPJPE mm", "error px", "price mm [95 %]", "drift mm mean, max")
    for row in rows:
        price, drift = row["price_mm"], row["drift_mm"]
        interval = f"{price['mean']:+.3f} \\[{price['low']:+.3f}, {price['high']:+.3f}]" if price else "–"
        apart = "–" if drift["mean"] is None else f"{_number(drift['mean'])}, {_number(drift['max'])}"
        errors = (_shown(row[name]) for name in ("mpjpe_mm", "pa_mpjpe_mm", "error_px"))
        shown.add_row(row["runtime"], row["precision"], *errors, interval, apart)
    for claim in record["published"]:
        field, figure = next(item for item in claim.items() if item[0] != "source")
        cells = {"mpjpe_mm": "–", "pa_mpjpe_mm": "–"} | {field: figure}
        shown.add_row(f"published ({claim['source']})", "–", *cells.values(), "–", "–", "–")
    flip = ", averaged over mirrored images" if record["flip"] else ""
    out.print(f"\n[bold]Accuracy[/] of {record['model']}, {data['samples']} samples of {data['name']}{flip}{mark}")
    out.print(shown)
    _by_part("joint", record["counted_joints"], rows, lambda row, name: _of_joint(record, row, name))
    groups = sorted({group for row in rows for group in row["groups"]})
    _by_part("action", groups, rows, lambda row, group: row["groups"][group]["mpjpe_mm"])
    busy = sum(row["seconds"] for row in rows) / record["seconds"]
    out.print(f"{record['samples_per_s']:.1f} samples a second; {busy:.0%} of the time in the models")
    out.print(f"everything about it: {escape(str(report))}", soft_wrap=True)


def doctor(facts: "Facts", capabilities: Sequence["Capability"]) -> None:
    """What the machine is, and what it can do."""
    memory, disk, board = facts.memory.value, facts.disk.value, facts.jetson.value
    shown = table("machine", "")
    shown.add_row("system", f"{facts.system}, Python {facts.python}")
    shown.add_row("processor", f"{_found(facts.cpu)}, usable cores: {facts.cores}")
    shown.add_row("", _found(facts.features, show_list(facts.features.value or ["no features that matter"])))
    memory_text = f"{memory[1] / 2**30:.1f} of {memory[0] / 2**30:.1f} GiB free" if memory else ""
    shown.add_row("memory", _found(facts.memory, memory_text))
    shown.add_row("disk", _found(facts.disk, f"{disk / 2**30:.1f} GiB free" if disk is not None else ""))
    for gpu in facts.gpus.value or ():
        about = f"compute capability {gpu.compute_capability}, {gpu.memory_bytes / 2**30:.1f} GiB"
        shown.add_row("GPU", escape(f"{gpu.name}, {about}, driver {_found(facts.driver)}"))
    if not facts.gpus.value:
        shown.add_row("GPU", f"none: {escape(facts.gpus.trouble or 'the driver sees none')}")
    if board or facts.jetson.trouble:
        board_text = f"{board.model}, L4T {board.l4t or 'unknown'}" if board else ""
        shown.add_row("Jetson", _found(facts.jetson, board_text))
    for name, version in facts.packages.items():
        shown.add_row(name, version or "[yellow]not installed[/]")
    out.print(shown)
    shown = table("name", "capability", "", "why, and what to do")
    for one in capabilities:
        style = {"yes": "green", "no": "red"}.get(one.available, "yellow")
        advice = "; ".join(text for text in (one.why, one.do) if text)
        shown.add_row(one.name, escape(one.about), f"[{style}]{one.available}[/]", escape(printable(advice)))
    out.print("\n[bold]What it can do[/]")
    out.print(shown)


def _found(answer: "Answer[Any]", text: str | None = None) -> str:
    """The value, or ``text`` in its place; the reason where there is none."""
    if answer.value is None:
        return f"unknown: {escape(printable(answer.trouble))}"
    return escape(printable(str(answer.value) if text is None else text))


def _by_part(title: str, parts: Sequence[str], rows: Sequence[Mapping[str, Any]], value: Any) -> None:
    if not parts:
        return
    shown = table(f"MPJPE mm by {title}", *(f"{row['runtime']} {row['precision']}" for row in rows))
    for part in parts:
        shown.add_row(escape(part), *(_shown(value(row, part)) for row in rows))
    out.print(shown)


def _of_joint(record: Mapping[str, Any], row: Mapping[str, Any], name: str) -> float | None:
    errors = row["joints"]["mpjpe_mm"]
    return errors[record["joint_names"].index(name)] if errors else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _origin(manifest: Manifest) -> str:
    origin = manifest.weights.origin
    return f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
