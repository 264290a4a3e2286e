"""Files that lack nothing but their end are read; those that lack more aren't."""

from typing import Any

import pytest
from PIL import Image

from congener.errors import ImageError
from congener.images import open_image, size_of

from .drawn import apart, encoded, scene

SCENE = scene((203, 151))
JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "fine": {"quality": 100, "subsampling": 0},
    "restarting": {"restart_marker_rows": 1},
    "restarting, progressive": {"restart_marker_blocks": 5, "progressive": True},
    "grey": {},
    "cmyk": {},
}


def jpeg(kind: str) -> bytes:
    mode = {"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB")
    return encoded(SCENE.convert(mode), "JPEG", **JPEGS[kind])


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_marker_is_read(kind: str) -> None:
    whole = jpeg(kind)
    assert whole.endswith(b"\xff\xd9")
    for cut in (1, 2):
        for target in (None, 20):
            assert apart(open_image(whole[:-cut], target), open_image(whole, target)) == 0
        assert size_of(whole[:-cut]) == SCENE.size


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_lacks_pixels_is_refused(kind: str) -> None:
    whole = jpeg(kind)
    for length in (len(whole) // 2, len(whole) * 9 // 10, len(whole) - 40):
        with pytest.raises(ImageError, match="truncated"):
            open_image(whole[:length])


def test_a_progressive_jpeg_that_lacks_its_last_scan_is_refused() -> None:
    whole = jpeg("progressive")
    last = whole.rindex(b"\xff\xda")
    between = whole.rindex(b"\xff\xc4", 0, last)  # the scan's own table
    with pytest.raises(ImageError, match="truncated"):
        open_image(whole[:between])


@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"mode": "P"}])
def test_a_png_without_its_last_chunk_is_read(options: dict[str, Any]) -> None:
    picture = SCENE.quantize(64) if options.pop("mode", None) else SCENE
    whole = encoded(picture, "PNG", **options)
    for cut in (1, 4, 8, 12, 14, 16):  # the last chunk's sum, the chunk, and of the sum of the pixels' chunk
        assert apart(open_image(whole[:-cut]), picture.convert("RGB")) == 0
    with pytest.raises(ImageError, match="truncated"):
        open_image(whole[: len(whole) - 300])


def test_a_gif_without_its_last_byte_is_read() -> None:
    whole = encoded(SCENE, "GIF")
    for cut in (1, 2):
        assert apart(open_image(whole[:-cut]), open_image(whole)) == 0
    with pytest.raises(ImageError, match="truncated"):
        open_image(whole[: len(whole) // 2])


def test_a_webp_that_lacks_metadata_alone_is_read() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    whole = encoded(SCENE, "WEBP", exif=exif)
    for cut in (1, 10):
        assert apart(open_image(whole[:-cut]), open_image(whole)) == 0
        assert size_of(whole[:-cut]) == SCENE.size
    with pytest.raises(ImageError, match="damaged"):
        open_image(whole[: len(whole) // 2])


def test_a_webp_without_its_last_padding_byte_is_read() -> None:
    pictures = (encoded(SCENE, "WEBP", quality=quality) for quality in range(40, 90))
    even = next(picture for picture in pictures if picture.endswith(b"\0"))
    odd = even[:16] + (len(even) - 21).to_bytes(4, "little") + even[20:]  # its last byte is called padding
    assert apart(open_image(odd[:-1]), open_image(odd)) == 0
