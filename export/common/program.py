"""The name of this program in commands that a reader can paste."""

import re
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "convnextpose"
COMMAND = re.compile(rf"(?<![\w./-]){PROGRAM}(?= [a-z])")
"""The program's name before a command, as in ``convnextpose bench build/S``."""


def executable() -> str:
    """Return how a shell calls this program: by its name if that is on PATH, otherwise by its path."""
    called = Path(sys.argv[0])
    if called.name == "main.py":
        return shlex.join([sys.executable, "-m", "cli.main"])
    if called.stem != PROGRAM:  # another program, which uses this one as a library
        return PROGRAM
    on_path = shutil.which(PROGRAM)
    is_this = on_path is None or Path(on_path).resolve() == called.resolve()
    has_path = called.parent != Path()
    return PROGRAM if (on_path is not None and is_this) or not has_path else shlex.quote(sys.argv[0])


def runnable(text: str) -> str:
    """Return a text in which every command, such as ``convnextpose bench build/S``, is one that this shell can run."""
    return COMMAND.sub(lambda _: executable(), text)
