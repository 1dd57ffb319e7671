"""Verifying a bundle from here: its files by this project's own code first, and then by its own verifier."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from export.bundle.write import DEVICE
from export.common.errors import BadInput


def verify_bundle(folder: Path, arguments: Sequence[str], expected: str | None = None) -> int:
    """Verify the bundle in ``folder``; returns the exit code of what refused it, or of its own verifier.

    The hashes are compared by the verifier that this project would put into a bundle. So nothing of a bundle that was
    changed is run, unless its manifest was changed with it: only an ``expected`` id, from elsewhere, shows that.
    Where no more than the hashes or the id is asked for, nothing of the bundle is run at all.

    Raises:
        BadInput: no bundle lies there.
    """
    if not (folder / "verify.py").is_file():
        seen = "nothing there" if not folder.exists() else "no verify.py in it"
        raise BadInput(f"{folder} is no bundle", seen, "name the folder that `convnextpose bundle` wrote, unpacked")
    place = folder.resolve()
    code = "import sys; sys.path.insert(0, sys.argv[1]); import verify; from pathlib import Path; "
    code += "verify.HERE = Path(sys.argv[2]); sys.exit(verify.main(sys.argv[3:]))"
    own = [sys.executable, "-I", "-B", "-c", code, str(DEVICE), str(place)]
    own += ["--expect", expected] if expected is not None else []
    ends = any(name in arguments for name in ("--hashes-only", "--id"))
    status = subprocess.run([*own, *(arguments if ends else ("--hashes-only",))], check=False).returncode
    if ends or status:
        return status
    return subprocess.run([sys.executable, "-I", str(place / "verify.py"), *arguments], check=False).returncode
