"""Standard streams: usable whatever the caller made of them, closed, full, or in an encoding that lacks characters."""

import errno
import io
import os
import sys
from typing import TextIO

from export.common.errors import BadInput

READER_GONE = 141
"""Exit code where the reader of stdout has gone, as of a program that SIGPIPE ends."""


class Stream(io.TextIOWrapper):
    """A stream that loses what cannot be written, and remembers why: the work itself goes on."""

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, if that is possible."""
        try:
            return super().write(text)
        except OSError as error:
            self.error = error
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, if that is possible."""
        try:
            super().flush()
        except OSError as error:
            self.error = error


def prepare_streams() -> None:
    """Make stdout and stderr writable, and replace characters that their encoding lacks.

    A closed descriptor is opened again, to nowhere: otherwise the next file would get its number, and whatever a
    library prints would be written into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _stream(sys.stdout, 1)
    sys.stderr = _stream(sys.stderr, 2)


def finish_streams(exit_code: int) -> int:
    """Flush stdout; return the exit code, which says that output was lost if nothing else went wrong."""
    stream = sys.stdout
    stream.flush()
    if not isinstance(stream, Stream) or stream.error is None:
        return exit_code
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes once more when it ends
    if stream.error.errno == errno.EPIPE:
        return exit_code or READER_GONE
    reason = stream.error.strerror or str(stream.error)
    failure = BadInput("the output could not be written completely", reason, "make room, or write it elsewhere")
    print(failure.report(), file=sys.stderr)
    return exit_code or failure.exit_code


def _stream(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a stream in place of one of Python's; a stream that something else has replaced is kept."""
    if stream is None:
        return Stream(open(descriptor, "wb", closefd=False), "utf-8")
    if stream not in (sys.__stdout__, sys.__stderr__) or not isinstance(stream, io.TextIOWrapper):
        return stream
    return Stream(stream.buffer, stream.encoding, "replace", line_buffering=descriptor == 2 or stream.isatty())
