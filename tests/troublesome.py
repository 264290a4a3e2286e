"""What a worker's process may be asked to do in the tests, most of it bad; importable without pytest."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener import errors
from congener.preprocessing import Preprocessing


def echo(value: Any) -> Any:
    return value


def process_id(seconds: float = 0) -> int:
    time.sleep(seconds)
    return os.getpid()


def segfault() -> None:
    ctypes.string_at(0)


def segfault_in(pid: int) -> int:
    """Crash in the process of this id only."""
    if os.getpid() == pid:
        segfault()
    return os.getpid()


def note_and_crash(path: str) -> None:
    """Add a character to a file, then crash."""
    with open(path, "a") as file:
        file.write("1")
    segfault()


def note_and_hang(path: str) -> None:
    """Make a file, then hang."""
    open(path, "a").close()
    hang()


def leave(status: int) -> None:
    os._exit(status)


def hang() -> None:
    while True:
        time.sleep(1)


def spin() -> None:
    sum(1 for _ in iter(int, 1))


def stop() -> None:
    """Stop this process: nothing in it runs any more, its alarm included."""
    os.kill(os.getpid(), signal.SIGSTOP)


def chatter() -> str:
    sys.stdout.write("from Python")
    sys.stdout.flush()
    os.write(1, b"from a library, to 1" * 1000)
    os.write(2, b"from a library, to 2" * 100_000)
    return sys.stdin.read() if sys.stdin else ""


def forge(answer: bytes) -> None:
    """Write to the pipe as a decoder would that was taken over."""
    for number in range(3, 20):
        try:
            os.write(number, answer)
        except OSError:
            continue
    os._exit(0)


def allocate(size: int) -> int:
    return len(bytearray(size))


def fail(name: str, *args: Any) -> None:
    kinds = vars(errors) | {"OwnError": OwnError}
    raise (kinds.get(name) or getattr(__import__("builtins"), name))(*args)


class OwnError(Exception):
    """Of a kind that the other side doesn't know."""


def array(dtype: str, *shape: int) -> NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def conversation(count: int, *, ask: Callable[[Any], Any], lay: object) -> list[Any]:
    return [ask(number) for number in range(count)]


def layers(count: int, seconds: float, last: float = 0, *, ask: object, lay: Callable[[Any], Any]) -> list[Any]:
    """Lay so many arrays (100) of their number, one each so many seconds; last: seconds of the answer after them."""
    laid = []
    for number in range(count):
        time.sleep(seconds)
        laid.append(lay(np.full(100, number)))
    time.sleep(last)
    return laid


class Bad(Preprocessing):
    """Crashes on red, hangs on blue."""

    def __call__(self, image: Image.Image) -> Image.Image:
        if image.getpixel((0, 0)) == (255, 0, 0):
            segfault()
        if image.getpixel((0, 0)) == (0, 0, 255):
            hang()
        return super().__call__(image)


class Stuck(Preprocessing):
    """Hangs on blue, once it has made a file that is named in the environment."""

    def __call__(self, image: Image.Image) -> Image.Image:
        if image.getpixel((0, 0)) == (0, 0, 255):
            note_and_hang(os.environ["CONGENER_TEST_STUCK"])
        return super().__call__(image)


class Short(Preprocessing):
    """Has no memory for red."""

    def __call__(self, image: Image.Image) -> Image.Image:
        if image.getpixel((0, 0)) == (255, 0, 0):
            raise MemoryError
        return super().__call__(image)


class Touching(Preprocessing):
    """Changes the time of a file, named in the environment, while a picture is read."""

    def __call__(self, image: Image.Image) -> Image.Image:
        os.utime(os.environ["CONGENER_TEST_TOUCHES"], (1, 1))
        return super().__call__(image)
