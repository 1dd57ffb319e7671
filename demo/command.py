"""Errors of this package's commands, printed without a traceback."""

import sys
from collections.abc import Callable

from export.common.errors import Failure


def run(main: Callable[[], None]) -> None:
    """Call ``main``; if it fails, print why and exit with the failure's code."""
    try:
        main()
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        sys.exit(failure.exit_code)
