"""A comparison as JUnit XML: one test case a cell. What could not be decided is skipped, never passed."""

import re
from xml.etree import ElementTree

from bench.report.subject import Gate, GateCell

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to say."""


def junit(gate: Gate, model: str) -> str:
    """The whole file. A comparison that was refused has one case that says so."""
    whole = tuple(gate.reasons) or ((gate.outcome,) if gate.complete else ("interrupted",))
    cells = gate.cells or (GateCell("the comparison", gate.outcome, whole, None, 0.0),)
    if gate.cells and not gate.complete:
        cells = (*cells, GateCell("the rest", "INCONCLUSIVE", ("it was interrupted",), None, 0.0))
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


def _text(value: str) -> str:
    return NOT_XML.sub("\ufffd", value)
