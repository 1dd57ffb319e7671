"""Verification of a bundle on this machine: by this project's own code first, then by the bundle's verifier."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.common.errors import BadInput, CheckFailed, NotPossible

DEVICE = Path(__file__).parent / "device"
OWN_VERIFIER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import verify
verify.FOLDER = Path(sys.argv[2])
sys.exit(verify.main(sys.argv[3:]))
"""


@dataclass(frozen=True)
class VerifiedRow:
    """One runtime with one precision in the report of a bundle's verifier."""

    runtime: str
    precision: str
    status: str
    reason: str


def verify_bundle(folder: Path, arguments: Sequence[str], expected: str | None = None) -> int:
    """Verify the bundle in ``folder``; return the exit code of the refusal, or of its own verifier.

    Hashes are compared by this project's own copy of the verifier, so that no program of a changed bundle runs. Only an
    ``expected`` id from elsewhere finds a bundle with a manifest that was changed as well. With ``--hashes-only`` or
    ``--id``, nothing of the bundle runs at all.

    Raises:
        BadInput: the folder is no bundle.
    """
    if not (folder / "verify.py").is_file():
        value = "no verify.py in it" if folder.exists() else "nothing there"
        raise BadInput(f"{folder} is no bundle", value, "name the folder that `convnextpose bundle` wrote, unpacked")
    place = folder.resolve()
    own = [sys.executable, "-I", "-B", "-c", OWN_VERIFIER, str(DEVICE), str(place)]
    own += ["--expect", expected] if expected is not None else []
    without_running = any(name in arguments for name in ("--hashes-only", "--id"))
    own += arguments if without_running else ["--hashes-only"]
    status = subprocess.run(own, check=False).returncode
    if without_running or status:
        return status
    return subprocess.run([sys.executable, "-I", str(place / "verify.py"), *arguments], check=False).returncode


def prove_bundle(folder: Path) -> tuple[VerifiedRow, ...]:
    """Run the bundle's own verifier on this machine, without latency; return the rows of its report.

    Raises:
        CheckFailed: it refuses the bundle.
        NotPossible: no runtime here runs any of its files, so that nothing is proven.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:  # where the bundle is written: TMPDIR may be closed
        report = Path(place) / "device-report.json"
        command = [sys.executable, "-I", str(folder.resolve() / "verify.py"), "--out", str(report), "--seconds", "0"]
        run = subprocess.run([*command, "--no-build"], capture_output=True, text=True, errors="replace", check=False)
        lines = (run.stdout + run.stderr).splitlines()
        if run.returncode == NotPossible.exit_code:
            value = "; ".join(line for line in lines if line.startswith(("found", "not run")))
            advice = "install openvino or onnxruntime here, or bundle another precision that one of them runs"
            raise NotPossible("no runtime here runs the bundle, so that nothing is proven", value, advice)
        if run.returncode or not report.is_file():
            value = "; ".join([x for x in lines if x.startswith(("error", "found", "fail", "inconclusive"))][:4])
            advice = "do not ship it; compare with the export's own parity"
            raise CheckFailed("the bundle's own verifier refuses it", value or run.stderr[-500:], advice)
        rows = json.loads(report.read_text(encoding="utf-8"))["results"]
    return tuple(VerifiedRow(row["runtime"], row["precision"], row["status"], row["reason"]) for row in rows)
