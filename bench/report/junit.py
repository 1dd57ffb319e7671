"""A comparison as JUnit XML: one test case a cell. An undecided cell is skipped, never passed."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from bench.gate.decision import Cell, Comparison, Outcome

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have."""


def junit(comparison: Comparison, model: str) -> str:
    """Return the whole file. A comparison that was refused has one case that says so."""
    cells = list(comparison.cells)
    if not cells:
        reasons = comparison.reasons or [comparison.outcome if comparison.complete else "interrupted"]
        cells = [_cell("the comparison", comparison.outcome, reasons)]
    elif not comparison.complete:
        cells.append(_cell("the rest", "INCONCLUSIVE", ["it was interrupted"]))
    failed = sum(cell.outcome == "FAIL" for cell in cells)
    skipped = sum(cell.outcome in ("INCONCLUSIVE", "REFUSED") for cell in cells)
    counts = {"tests": str(len(cells)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _text(f"gate of {model}")} | counts)
    for cell in cells:
        case = ElementTree.SubElement(suite, "testcase", {"classname": _text(model), "name": _text(cell.id)})
        message = _text("; ".join(cell.reasons))
        if cell.outcome == "FAIL":
            ElementTree.SubElement(case, "failure", {"message": message}).text = message
        elif cell.outcome in ("INCONCLUSIVE", "REFUSED"):
            ElementTree.SubElement(case, "skipped", {"message": f"{cell.outcome}: {message}"})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cell(name: str, outcome: Outcome, reasons: Sequence[str]) -> Cell:
    return Cell(name, outcome, tuple(reasons), slowdown=None, allowed=0.0, control=None, rounds=0)


def _text(value: str) -> str:
    return NOT_XML.sub("\ufffd", value)
