"""Readers of a report's files, and writers of its inputs."""

import csv
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from tests.support.planted_bench import Planted

UNSTABLE = Planted("onnxruntime", "fp16", 1.0, noise=0.3)
INVALID = Planted("onnxruntime", "bf16", 1.0, faults=("parity fail: 7 mm",), outcome="fail", error_mm=7)


def markup_of(page: Path) -> str:
    """A page without its scripts and its style."""
    return re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)


def text_of(page: Path) -> str:
    """What a reader can read on it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup_of(page))).split())


def sections_of(page: Path) -> set[str]:
    return set(re.findall(r'<(?:section|details) id="([^"]+)"', markup_of(page)))


def lines_of(place: Path) -> list[dict[str, str]]:
    with (place / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def write_gate(path: Path, outcome: str = "PASS") -> Path:
    cell: dict[str, Any] = {"id": "openvino/fp32/b1/t2", "outcome": outcome, "reasons": ["so & <so>"], "allowed": 0.03}
    cell["slowdown"] = {"median": 1.0, "low": 0.99, "high": 1.01}
    plain = {"schema_version": "1.0", "kind": "compare", "mode": "paired", "outcome": outcome, "cells": [cell]}
    path.write_text(json.dumps(plain | {"complete": True, "reasons": []}))
    return path
