"""Tables: views of the JSON that the commands write."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cli.console import err, out, table
from cli.render.images import known_images
from export.common.interface import variant_of
from export.common.plain import printable, show_list
from export.pipeline.manifest import Counts, Manifest, Nearest, VerdictRow
from export.pipeline.options import name_nearest
from export.pipeline.request import ExportRequest
from export.pipeline.steps import WHOLE
from export.plan.plan_record import TOO_MANY

if TYPE_CHECKING:
    from bench.harness.latency_table import LatencyTable
    from bench.machine.doctor import Capability
    from bench.machine.facts import Answer, Facts
    from export.checkpoint.evidence import Problem

OUTCOME_STYLE = {"agrees": "green", "pass": "green", "contradicted": "red", "fail": "red", "inconclusive": "yellow"}

FINDING_STYLE = {"fits": "green", "unclear": "yellow", "does not fit": "dim", "does not follow": "dim"}


def weights_line(request: ExportRequest, *, asked: bool) -> None:
    """Say where the weights come from, before anything else is said."""
    if request.origin != "checkpoint":
        files = ", ".join(request.config.files) or "the configuration names no file"
        others = sorted(p.name for p in Path("weights").glob("*") if p.name != "README.md")
        also = f"; what lies there: {', '.join(others)}" if others else ""
        err.print(escape(f"no checkpoint in weights/ (looked for: {files}{also})"), soft_wrap=True)
        meaning = "trained on drawn figures: its poses are real, but say nothing about people"
        if request.growth:
            meaning = f"grown from the {request.growth.model} demo checkpoint, {meaning}"
        if request.origin == "stand-in":
            meaning = "latency is meaningful, poses are not"
        err.print(f"[yellow bold]weights: {request.origin}[/] — {meaning}")
        return
    found = "" if asked else " (found in weights/)"
    err.print(f"weights: {escape(str(request.checkpoint))}{found}", soft_wrap=True)


def contradicted_claims(findings: Sequence[Mapping[str, Any]]) -> None:
    """Print the claims that a checkpoint contradicts, if there are any."""
    contradicted = [finding for finding in findings if finding["outcome"] == "contradicted"]
    if contradicted:
        claims(contradicted, "Claims that this checkpoint contradicts")


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
    """How far each artefact is from the truth, beside the distance of what it is compared with."""
    shown = table("artifact", "run by", "verdict", "grade", "mean mm", "p99 mm", "max mm", "max bins", "max pixels")
    for result in manifest.parity:
        rows = []
        for run in result["runs"]:
            worst = run["batches"][str(run["worst_batch"])]
            status = run.get("status", worst["outcome"])
            verdict = f"[{OUTCOME_STYLE.get(status, 'yellow')}]{status}[/]"
            rows.append((result["artifact"], run["runner"], verdict, worst["grade"], worst["candidate"]))
        rows.append((result["budget"]["reference"], "PyTorch", "–", "–", result["reference"]))
        for *names, distances in rows:
            keys = ("mean_mm", "p99_mm", "max_mm", "max_bins", "max_pixels")
            shown.add_row(*names, *(_number(distances[key]) for key in keys))
    if manifest.parity:
        out.print(f"\n[bold]Parity with the network as released, in FP64[/]{_origin(manifest)}")
        out.print(shown)
    for result in manifest.parity:
        runtimes = " and by ".join(run["runtime"] for run in result["runs"])
        out.print(
            f"{result['precision']}: {escape(result['reason'])}; {result['images']['count']} "
            f"{result['images']['source']}, batches {', '.join(map(str, result['batches']))}, "
            f"run by {escape(runtimes)}"
        )
        for missing in result["not_run"]:
            out.print(f"{result['precision']}: not run by {missing['runner']}: {escape(missing['reason'])}")
        if result["budget"]["grade"] is None:
            out.print(f"[yellow]{result['precision']}: no error budget:[/] {escape(result['budget']['reason'])}")
    for line in _plans(manifest):
        out.print(escape(line), soft_wrap=True)
    for ranges in manifest.ranges:
        values = ranges["activations"]
        name = next(iter(values))
        largest = f"{_number(values[name])} in {escape(name)}"
        out.print(f"{ranges['precision']}: largest value {largest}; {ranges['limit']:.4g} is the limit")
    for result in manifest.parity[:1]:  # it is the truth's, and so the same for all
        known_images(result["images"]["statistics"])
        over_images, over_joints = (_number(result["signal"][f"over_{what}_mm"]) for what in ("images", "joints"))
        out.print(f"signal: joints spread {over_images} mm over images, {over_joints} mm over joints")


def _plans(manifest: Manifest) -> Iterator[str]:
    """Return one line for each precision plan: how much is in which precision, and what the search found."""
    seen = {a.precision: a.details["plan"] for a in manifest.artifacts if a.kind == "onnx" and "plan" in a.details}
    for precision, plan in seen.items():
        found = plan["search"][0] if plan["aim"] is None and plan["search"] else f"planned for grade {plan['aim']}"
        missed = [line for line in plan["search"] if line.endswith(TOO_MANY)]
        seconds = f", in {plan['search_seconds']:.1f} s" if plan["search_seconds"] is not None else ""
        yield f"{precision}: {plan['summary']}; " + "; ".join([found + seconds, *missed])


def trace(record: Mapping[str, Any]) -> None:
    """Every convolution's distance from FP32, and where it becomes more than rounding."""
    shown = table("layer", "relative error", "largest error", "largest value")
    for layer in record["layers"]:
        mark = "[red]" if layer["layer"] == record["first_departure"] else ""
        numbers = (_number(layer[name]) for name in ("relative_error", "largest_error", "largest_value"))
        shown.add_row(mark + escape(layer["layer"]), *numbers)
    out.print(f"\n[bold]{record['precision']} beside fp32[/], {record['images']} images, run by {record['runtime']}")
    out.print(shown)
    limit = f"{record['expected_relative_error']:g}"
    if record["first_departure"]:
        out.print(f"first layer with a relative error above {limit}: [red]{escape(record['first_departure'])}[/]")
    else:
        out.print(f"no layer has a relative error above {limit}: this is what rounding costs")
    jump = record["largest_jump"]
    before, after = (_number(jump[name]) for name in ("before", "after"))
    out.print(f"it rises most in {escape(jump['layer'])}: from {before} before it to {after}")


def latency(result: "LatencyTable | None", manifest: Manifest) -> None:
    """Print the latency table of an export, or why nothing is known."""
    if result is None:
        err.print("no latency table: no file of the export passed its parity")
        return
    out.print(f"\n[bold]Latency[/], one image, NumPy to NumPy (host_e2e){_origin(manifest)}")
    if result.reason:
        out.print(f"[yellow]not known[/]: {escape(result.reason)}; `convnextpose bench` measures longer")
        return
    shown = table("runtime", "precision", "threads", "p50 (ms)", "speed-up vs PyTorch [95 % interval]")
    for row in result.rows:
        computes = "" if row.precision_used in (None, row.precision) else f" (computes {row.precision_used})"
        ratio = "–"
        if row.speed_up is not None:
            ratio = f"{row.speed_up:.2f} \\[{row.speed_up_low:.2f}, {row.speed_up_high:.2f}]"
        shown.add_row(row.runtime, row.precision + computes, str(row.threads), f"{row.latency_ms:.2f}", ratio)
    out.print(shown)
    out.print(f"{escape(str(result.machine['cpu']))}, {result.machine['cores']} cores; {result.protocol}")


def artifacts(manifest: Manifest, folder: Path, recipe: Path | None) -> None:
    """Print the artifacts in the folder, and what could not be made."""
    shown = table("artefact", "precision", "size", "status")
    for artifact in manifest.artifacts:
        shown.add_row(artifact.path, artifact.precision, f"{artifact.size_bytes / 1e6:.1f} MB", escape(artifact.status))
    for missing in manifest.not_run:
        shown.add_row(missing.kind, missing.precision, "–", f"[yellow]{missing.status}:[/] {escape(missing.reason)}")
    out.print(f"\n[bold]{escape(str(folder))}[/]{_origin(manifest)}")
    out.print(shown)
    out.print(f"everything about them: {escape(str(folder / WHOLE))}")
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


def dataset_notes(notes: Sequence[str], done: int, total: int, *, begun_anew: bool) -> None:
    """What a user must know of a dataset, and where a run goes on."""
    for text in notes:
        err.print(f"note: {escape(text)}", soft_wrap=True)
    if begun_anew:
        err.print("note: what an earlier run left is damaged, or of other files, options or code: begun anew")
    if done:
        err.print(f"going on after {done} of {total} samples, which an earlier run has done")


def accuracy(record: Mapping[str, Any], report: Path) -> None:
    """Every model's errors, per joint and per group."""
    rows, data, origin = record["contenders"], record["dataset"], record["weights"]["origin"]
    mark = f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""
    shown = table("model", "precision", "MPJPE mm", "PA-MPJPE mm", "error px", "price mm [95 %]", "drift mm mean, max")
    for row in rows:
        price, drift = row["price_mm"], row["drift_mm"]
        interval = f"{price['mean']:+.3f}" if price else "–"
        if price and price["low"] is not None:
            interval += f" \\[{price['low']:+.3f}, {price['high']:+.3f}]"
        apart = "–" if drift["mean"] is None else f"{_number(drift['mean'])}, {_number(drift['max'])}"
        errors = (_shown(row[name]) for name in ("mpjpe_mm", "pa_mpjpe_mm", "error_px"))
        shown.add_row(row["runtime"], _variant(row), *errors, interval, apart)
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
        advice = "; ".join(text for text in (one.reason, one.advice) if text)
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
    shown = table(f"MPJPE mm by {title}", *(f"{row['runtime']} {_variant(row)}" for row in rows))
    for part in parts:
        shown.add_row(escape(part), *(_shown(value(row, part)) for row in rows))
    out.print(shown)


def _variant(row: Mapping[str, Any]) -> str:
    return variant_of(row["precision"], takes_pixels=row["takes_pixels"])


def _of_joint(record: Mapping[str, Any], row: Mapping[str, Any], name: str) -> float | None:
    errors = row["joints"]["mpjpe_mm"]
    return errors[record["joint_names"].index(name)] if errors else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _origin(manifest: Manifest) -> str:
    origin, source = manifest.weights.origin, manifest.weights.grown_from
    grown = f", grown from {escape(source)}" if source else ""
    return f"  [yellow]weights: {origin}{grown}[/]" if origin != "checkpoint" else ""


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _decimal(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.0%}"
