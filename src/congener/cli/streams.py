"""Standard input, output and error in whatever state a process is given them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from congener.errors import CongenerError

READER_GONE = 141
"""Exit code where whoever reads the output has gone: what a shell says of SIGPIPE."""


def prepare() -> None:
    """Have all three open, so that no file of a gallery gets their numbers, and any text printable.

    Writing to a closed output fails then as it does for other programs; what goes to a closed error stream is dropped.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # 1: not for writing
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, mode)  # the lowest that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


class ReaderGoneError(Exception):
    """Whoever reads the output has seen enough. Not an OSError: of such click makes an exit code of its own."""


@contextmanager
def watched() -> Iterator[None]:
    """Raise ReaderGoneError where the reader of a pipe has gone."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None


def flush() -> None:
    """Write out what was printed. Raises ReaderGoneError where the reader has gone, CongenerError for other reasons."""
    try:
        with watched():
            sys.stdout.flush()
    except OSError as error:
        raise CongenerError(f"can't write to standard output: {error.strerror}") from None


def end() -> None:
    """Write out what was printed, and drop what can't be: else Python would try once more at its end, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
