"""Readers of a report's files, and writers of its inputs."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from bench.gate.decision import Cell, Comparison, Slowdown
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


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def write_gate(path: Path, outcome: Any = "PASS") -> Path:
    cell = Cell("openvino/fp32/b1/t2", outcome, ("so & <so>",), Slowdown(1.0, 0.99, 1.01), 0.03, None, 40)
    path.write_text(json.dumps(Comparison("paired", outcome, (cell,)).as_json()))
    return path
