import json
import pickle
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from congener import wire
from congener.tray import Tray


def there_and_back(value: Any) -> Any:
    stream = BytesIO()
    wire.write(stream, wire.message(value))
    wire.write(stream, wire.message("the next"))
    stream.seek(0)
    came = wire.read(stream)
    assert wire.read(stream) == "the next"
    return came


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        -(10**30),
        0.1,
        float("inf"),
        "Käfer \udcff",
        b"\0\xff",
        b"",
        [],
        (),
        {},
        [1, (2, {"a": b"b", 3: None})],
    ],
)
def test_plain_values_come_as_they_went(value: Any) -> None:
    came = there_and_back(value)
    assert came == value
    assert type(came) is type(value)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", ">f4", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_arrays_keep_shape_and_kind(shape: tuple[int, ...], dtype: str) -> None:
    value = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    came = there_and_back((value, value.T))
    for back, sent in zip(came, (value, value.T), strict=True):
        assert back.dtype == sent.dtype
        assert back.shape == sent.shape
        assert (back == sent).all()
        assert back.flags.writeable


def test_a_picture_comes_as_its_array() -> None:
    picture = Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3))
    came = there_and_back(picture)
    assert came.shape == (5, 4, 3)
    assert (came == np.asarray(picture)).all()
    with pytest.raises(TypeError, match="Image is no plain value"):
        wire.message(picture.convert("L"))


def test_pictures_of_one_size_come_as_one_array() -> None:
    pixels = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)
    pictures = [Image.fromarray(each) for each in pixels]
    name, came, number = there_and_back((b"odd", pictures, np.float64(0.5)))
    assert (name, number) == (b"odd", 0.5)
    assert came.shape == (2, 5, 4, 3)
    assert (came == pixels).all()
    assert type(there_and_back((pictures[0], pictures[1]))) is tuple
    several = there_and_back([*pictures, pictures[0].resize((2, 2))])
    assert [each.shape for each in several] == [(5, 4, 3), (5, 4, 3), (2, 2, 3)]
    with pytest.raises(TypeError, match="Image is no plain value"):
        wire.message([pictures[0], pictures[1].convert("L")])


needs_tray = pytest.mark.skipif(Tray.create(8) is None, reason="the system shares no memory without a name")


@needs_tray
def test_what_lies_on_a_tray_comes_as_arrays_of_its_memory() -> None:
    tray = Tray.create(1000)
    assert tray
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    laid = [wire.lay(Image.fromarray(each), tray) for each in pixels]
    odd = wire.lay(np.arange(5, dtype=">f4"), tray)
    full = wire.lay(np.zeros(1000), tray)
    assert all(isinstance(each, wire.Laid) for each in [*laid, odd])
    assert isinstance(full, np.ndarray)

    def there_and_back(value: Any) -> Any:
        stream = BytesIO()
        wire.write(stream, wire.message(value))
        assert len(stream.getvalue()) < 9000  # of which 8,000 for what had no place
        stream.seek(0)
        return wire.read(stream, tray)

    together, apart, other, in_body = there_and_back((laid, [laid[2], laid[0]], odd, full))
    assert together.shape == (3, 4, 4, 3)
    assert (together == pixels).all()
    assert [(each == pixels[number]).all() for each, number in zip(apart, (2, 0), strict=True)] == [True, True]
    assert other.dtype == ">f4"
    assert other.tolist() == [0, 1, 2, 3, 4]
    assert in_body.shape == (1000,)
    together[2, 0, 0, 0] = 77  # it is writable, and the same memory
    assert apart[0][0, 0, 0] == 77
    with pytest.raises(TypeError, match="Image is no plain value"):
        wire.lay(Image.new("L", (2, 2)), tray)
    assert wire.lay("text", tray) == "text"


@needs_tray
@pytest.mark.parametrize(
    "laid",
    [
        [16, "|u1", [1001]],
        [0, "|u1", [8]],
        [-8, "|u1", [8]],
        [16, "|O8", [1]],
        [16, "<f8", [-1]],
        [16, "|u1", [1 << 70]],
        8,
    ],
)
def test_what_lies_beyond_a_tray_is_an_error(laid: Any) -> None:
    with pytest.raises(wire.WireError):
        wire.read(BytesIO(framed([{"laid": laid}, 0])), Tray.create(1000))


def test_without_a_tray_nothing_lies_there() -> None:
    with pytest.raises(wire.WireError, match="unknown kind"):
        wire.read(BytesIO(framed([{"laid": [8, "|u1", [1]]}, 0])))


def test_scalars_of_arrays_are_numbers() -> None:
    assert there_and_back((np.float32(0.5), np.int64(3))) == (0.5, 3)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), np.array(["a"]), [1j]])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no plain value"):
        wire.message(value)


def framed(header: Any, *blocks: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(blocks)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 1 << 60),
        framed(b"\x80not JSON"),
        framed(pickle.dumps(print)),
        framed(b"[" * 100_000),
        framed(7),
        framed([1, 1 << 62]),
        framed([1, -1]),
        framed([1, "8"]),
        framed([{"bytes": [1, 1]}, 1], b"\0"),
        framed([{"bytes": [-1, 1]}, 1], b"\0"),
        framed([{"bytes": [0, -1]}, 1], b"\0"),
        framed([{"bytes": [0, 1 << 70]}, 1], b"\0"),
        framed([{"bytes": 0}, 1], b"\0"),
        framed([{"object": 1}, 0]),
        framed([{"array": [0, "|O8", [1]]}, 8], b"\0" * 8),
        framed([{"array": [0, "<f8", [2]]}, 8], b"\0" * 8),
        framed([{"array": [4, "<f8", [1]]}, 8], b"\0" * 8),
        framed([{"array": [0, "<f8", [-1]]}, 8], b"\0" * 8),
        framed([{"array": [0, "<f7", [1]]}, 7], b"\0" * 7),
        framed([{"array": [0, "|u1", [1 << 70, 0]]}, 0]),
        framed([{"dict": [[[], 1]]}, 0]),
        framed([{"dict": [1]}, 0]),
    ],
)
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read(BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"\0" * 4, framed([{"bytes": [0, 9]}, 9], b"short")])
def test_the_end_of_the_stream_is_told_apart(data: bytes) -> None:
    with pytest.raises(EOFError):
        wire.read(BytesIO(data))


def test_frames_of_bytes() -> None:
    stream = BytesIO()
    wire.write_frame(stream, b"one")
    wire.write_frame(stream, b"")
    stream.seek(0)
    assert (wire.read_frame(stream), wire.read_frame(stream)) == (b"one", b"")
    with pytest.raises(EOFError):
        wire.read_frame(stream)


@pytest.mark.parametrize(
    "told", [7, "text", ["ValueError"], ["exec", ["1"], ""], ["ValueError", 7, ""], ["ValueError", [], 7]]
)
def test_what_tells_of_no_error_is_an_error_too(told: Any) -> None:
    assert type(wire.error_of(told)) is RuntimeError
