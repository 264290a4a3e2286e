"""What can't be opened: damaged, of a kind that isn't read, or no picture at all."""

from typing import Any

import numpy as np
import pytest

from congener.errors import ImageError
from congener.images import open_image

from .drawn import encoded, scene
from .tiffs import WHITE_IS_ZERO, tiff

COLOURS = np.asarray(scene((60, 40)))
GREY = COLOURS[..., 0]
UNREAD: dict[str, Any] = {
    "grey, 1 channel of 64-bit float": (GREY.astype(np.float64), {}, "<"),
    "grey, 1 channel of 16-bit float": (GREY.astype(np.float16), {}, "<"),
    "white-is-zero grey, 1 channel of 16-bit unsigned numbers, big-endian": (
        GREY.astype(np.uint16),
        {"photometric": WHITE_IS_ZERO},
        ">",
    ),
    "RGB, 3 channels of 32-bit float": (COLOURS.astype(np.float32), {}, "<"),
    "grey, 1 channel of 32-bit unsigned numbers, big-endian": (GREY.astype(np.uint32), {}, ">"),
    "RGB, 7 channels": (np.dstack([GREY] * 7), {}, "<"),
    "camera raw": (GREY.astype(np.uint16), {"photometric": 32803}, "<"),
    "compression 34712": (COLOURS, {"tags": {259: (3, [34712])}}, "<"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_a_sound_tiff_of_a_kind_that_is_not_read_is_not_called_damaged(kind: str) -> None:
    pixels, options, order = UNREAD[kind]
    picture = tiff((pixels, options), order=order)
    with pytest.raises(ImageError, match=rf"^a kind of TIFF that isn't read: .*{kind}"):
        open_image(picture)
    beyond = tiff((pixels, {**options, "tags": {**options.get("tags", {}), 273: (4, [10**6])}}), order=order)
    for damaged in (picture[: len(picture) // 2], beyond):
        with pytest.raises(ImageError, match=r"^damaged image"):
            open_image(damaged)


def test_a_tiff_whose_compression_may_not_be_read_says_so() -> None:
    with pytest.raises(ImageError, match=r"^damaged image, or a kind of TIFF that isn't read: .*WebP"):
        open_image(tiff((COLOURS, {"tags": {259: (3, [50001])}})))


def test_a_jpeg_of_12_bits_is_of_a_kind_that_is_not_read() -> None:
    picture = bytearray(encoded(scene(), "JPEG"))
    picture[picture.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match=r"^a kind of JPEG that isn't read: compressed, 12 bits a channel"):
        open_image(bytes(picture))


@pytest.mark.parametrize(
    ("head", "format"), [(b"II*\0", "TIFF"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG")]
)
def test_a_header_alone_is_damaged(head: bytes, format: str) -> None:
    with pytest.raises(ImageError, match=rf"^damaged image: begins as {format}"):
        open_image(head + bytes(200))


@pytest.mark.parametrize(
    ("marker", "process"),
    [(0xC3, "lossless"), (0xC7, "lossless"), (0xC9, "arithmetic"), (0xCB, "lossless"), (0xCF, "arithmetic")],
)
def test_a_jpeg_of_12_bits_and_a_rare_process_says_both(marker: int, process: str) -> None:
    picture = bytearray(encoded(scene(), "JPEG"))
    frame = picture.index(b"\xff\xc0")
    picture[frame + 1], picture[frame + 4] = marker, 12
    with pytest.raises(ImageError, match=rf"^a kind of JPEG that isn't read: {process}, 12 bits a channel"):
        open_image(bytes(picture))


@pytest.mark.parametrize(
    "segments",
    [
        b"\xff\xe0\0\x04ab\0\xc3\0\x0b\x08",  # where a marker should be is none
        b"\xff\xcc\0\x04\0\x05\xff\xc0\0\x0b\x08",  # what arithmetic codes need comes before the frame
        b"\xff\xc4\0\x04\x10\x05\xff\xc2\0\x0b\x08",
    ],
)
def test_a_damaged_jpeg_of_a_kind_that_is_read_is_not_called_another(segments: bytes) -> None:
    with pytest.raises(ImageError, match=r"^damaged image"):
        open_image(b"\xff\xd8" + segments + bytes(200))
