"""Write the generated pages of the reference: the commands, and a JSON Schema for every file that is written.

Run as ``python -m scripts.write_reference`` after a change of an option or of a record.
"""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from export.common.files import PROJECT, write_text

REFERENCE = PROJECT / "docs/reference"
DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
SCHEMAS = {
    "manifest": ("export.pipeline.manifest", "Manifest", "OUT/MODEL/manifest.json"),
    "folder-inspection": ("export.checkpoint.folder_inspection", "FolderInspection", "inspect DIR --json"),
    "precision-plan": ("export.plan.precision_plan", "PrecisionPlan", "OUT/MODEL/plan/PRECISION.json"),
    "latency": ("bench.harness.latency_table", "LatencyTable", "OUT/MODEL/latency.json"),
    "result": ("bench.results.result", "Result", "OUT/MODEL/bench/result.json"),
    "evaluation": ("bench.accuracy.record", "Evaluation", "OUT/MODEL/accuracy/DATASET.json"),
    "bundle-manifest": ("export.bundle.manifest", "BundleManifest", "MODEL-bundle/manifest.json"),
    "device-report": ("bench.results.device_report", "DeviceReport", "device-report.json"),
    "gpu-report": ("scripts.gpu_report", "GpuReport", "OUT/MODEL/gpu-report.json"),
    "fleet": ("bench.fleet.record", "FleetRecord", "OUT/fleet/RUN/fleet.json"),
}
"""Name → module and class of the record, and the file that holds it or the command that prints it."""
HEAD = """# JSON schemas

Every result is JSON first, with a schema version; tables, Markdown and HTML are views of it. Units stand in the names
of the fields. A file of another major version is refused by name. `python -m scripts.write_reference` writes this page
and the schemas (JSON Schema 2020-12) from the classes that read and write the files.

| file or command | version | schema | class |
|---|---|---|---|
"""


def schema(module: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema of a record, a pydantic model or a dataclass."""
    return DIALECT | TypeAdapter(getattr(import_module(module), name)).json_schema()


def version(module: str, plain: dict[str, Any]) -> str:
    """Return the schema version that a file has when it is written."""
    return str(plain["properties"]["schema_version"].get("default") or import_module(module).SCHEMA_VERSION)


def commands() -> str:
    """Return the page of all commands, as typer documents them."""
    call = [sys.executable, "-m", "typer", "cli.main", "utils", "docs", "--name", "convnextpose", "--title", "Commands"]
    return subprocess.run(call, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60).stdout


def write(folder: Path) -> None:
    """Write all generated pages into ``folder``."""
    rows = []
    for file, (module, name, path) in SCHEMAS.items():
        plain = schema(module, name)
        write_text(folder / f"schemas/{file}.schema.json", json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
        link = f"[{file}.schema.json](schemas/{file}.schema.json)"
        rows.append(f"| `{path}` | {version(module, plain)} | {link} | `{module}.{name}` |\n")
    write_text(folder / "schemas.md", HEAD + "".join(rows))
    write_text(folder / "commands.md", commands())


if __name__ == "__main__":
    write(REFERENCE)
