"""What the network is and how that is known; what it was measured on; and the commands that make it again."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench import cells
from bench.report import commands
from bench.report.subject import Bench, Subject
from bench.report.views import Cell, Line, Missing, Section, Table
from export.plain import show_list


def architecture(subject: Subject) -> Section:
    """Declared, found, used, and the source of each field."""
    lines = [
        Line(
            (
                Cell(row.field, "" if row.agrees else "not as declared", "" if row.agrees else "warn"),
                *(Cell(show_list(value)) for value in (row.declared, row.found, row.used)),
                Cell(row.source, row.why),
            )
        )
        for row in subject.verdict
    ]
    wrong = [row.field for row in subject.verdict if not row.agrees]
    lead = f"{subject.parameters:,} parameters, {subject.macs / 1e9:.3f} GMACs; weights: {subject.weights}, sha256 "
    lead += f"{subject.weights_sha256[:16]}. "
    lead += f"Not as declared: {', '.join(wrong)}." if wrong else "Everything that the weights show is as declared."
    table = Table(
        "Where each field of the architecture comes from.",
        ("field", "declared", "found in the weights", "used", "source"),
        tuple(lines),
        wide=True,
    )
    return Section("architecture", "What the network is", (lead,), tables=(table,))


def files(subject: Subject) -> Section:
    """Every artefact, with the hash that it is known by."""
    lines = [
        Line(
            (Cell(of.path), Cell(of.precision), Cell(cells.megabytes(of.size_bytes)), Cell(of.status), Cell(of.sha256))
        )
        for of in subject.files
    ]
    table = Table("Files of the export.", ("file", "precision", "size", "status", "sha256"), tuple(lines), wide=True)
    return Section("files", "The files", tables=(table,))


def environment(subject: Subject) -> Section:
    """All that was recorded of machine and software, as it was recorded."""
    if subject.bench is None:
        missing = Missing("the environment", "nothing was benchmarked", commands.bench(subject))
        return Section("environment", "Environment", missing=(missing,), tables=(_tools(subject),))
    pairs = list(_flat(subject.bench.environment))
    lines = tuple(Line((Cell(name), Cell(value))) for name, value in pairs)
    lead = f"Fingerprint {subject.bench.fingerprint}: results with another one are never compared in ms."
    tables = (Table("As it was recorded before measuring.", ("what", "value"), lines), _tools(subject))
    return Section("environment", "Environment", (lead,), tables=tables)


def reproduce(subject: Subject) -> Section:
    """The commands, in order."""
    lead = "With the options that the result tells; a choice of runtimes, precisions or deadlines it does not."
    return Section("reproduce", "To make it again", (lead,), commands=commands.reproduce(subject))


def device_card(bench: Bench) -> tuple[tuple[str, str], ...]:
    """What was measured on, in a few lines."""
    host, software = bench.environment.get("host", {}), bench.environment.get("software", {})
    gpus = [str(gpu.get("name")) for gpu in bench.environment.get("gpus") or ()]
    virtual = {True: "virtual machine", False: "no hypervisor seen"}.get(host.get("virtual"), "")
    system = " ".join(str(host[name]) for name in ("system", "machine") if host.get(name))
    libraries = software.get("libraries", {})
    named = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "torch")
    found = {
        "processor": str(host.get("cpu", "unknown")),
        "cores": f"{host.get('usable_cores', '?')} usable; threads of each row: {bench.threads}",
        "memory": f"{host['memory_mib'] / 1024:.1f} GiB" if host.get("memory_mib") else "",
        "GPU": ", ".join(gpus) or "none",
        "governor": str(host.get("governor") or "not told"),
        "system": ", ".join(text for text in (system, virtual) if text),
        "software": ", ".join(f"{name} {libraries[name]}" for name in named if name in libraries),
        "measured": f"{bench.created}, {bench.mode} mode, {bench.rounds} rounds",
    }
    return tuple((name, value) for name, value in found.items() if value)


def _tools(subject: Subject) -> Table:
    lines = tuple(Line((Cell(name), Cell(version))) for name, version in subject.tools.items())
    return Table("What the export was made with.", ("tool", "version"), lines)


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for index, one in enumerate(value):
                yield from _flat(one if isinstance(one, Mapping) else {"value": one}, f"{prefix}{name}[{index}].")
        else:
            yield prefix + name, "not told" if value is None else show_list(value) or "none"
