import errno
import os
import struct
import threading
import warnings
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageChops, ImageCms, ImageFile, ImageStat
from PIL.PngImagePlugin import PngInfo

from congener import limits
from congener.errors import ImageError
from congener.files import SUFFIXES
from congener.images import (
    PIXEL_LIMIT,
    from_array,
    from_picture,
    open_image,
    size_of,
)
from congener.rgb import to_rgb

from .conftest import plain
from .drawn import apart, colour, encoded, scene, turned
from .tiffs import DEFLATE, PACKBITS, RAW, tiff

FORMATS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}


# the walk


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_opens_as_rgb(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"picture{FORMATS[format]}"
    plain((200, 30, 40), (64, 48)).save(path, format)
    picture = open_image(path)
    assert picture.mode == "RGB"
    assert picture.size == (64, 48)
    assert colour(picture) == pytest.approx((200, 30, 40), abs=6)
    assert path.suffix in SUFFIXES


def test_heic_opens(heic: bytes) -> None:
    picture = open_image(heic)
    assert picture.mode == "RGB"
    assert picture.size == (64, 48)
    assert colour(picture) == pytest.approx((200, 30, 40), abs=8)


def test_heic_without_its_extra_names_it(heic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.images._register_heif", lambda: False)
    with pytest.raises(ImageError, match=r"congener\[heic\]"):
        open_image(heic)


@pytest.fixture(scope="session")
def heic() -> bytes:
    path = Path(__file__).parent / "data/red.heic"
    return path.read_bytes()


def test_the_contents_count_not_the_suffix(tmp_path: Path) -> None:
    plain("blue").save(tmp_path / "really-a-png.jpg", "PNG")
    assert colour(open_image(tmp_path / "really-a-png.jpg")) == (0, 0, 255)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [plain("red"), plain("blue")]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert colour(open_image(gif)) == pytest.approx((255, 0, 0), abs=2)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    upright = scene()
    # what a camera held that way would store: the inverse of the turn that EXIF asks for
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_image(encoded(stored, format, exif=exif))
    assert picture.size == upright.size
    difference = ImageStat.Stat(ImageChops.difference(picture, upright)).mean
    assert max(difference) < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's; the command line silences it
def test_absurd_exif_is_no_reason_to_skip() -> None:
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        assert open_image(encoded(plain("red"), "JPEG", exif=exif)).size == (12, 12)


# modes


def test_16_bit_grey_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for format in ("PNG", "TIFF"):
        picture = open_image(encoded(Image.fromarray(ramp), format))
        assert np.asarray(picture)[0, :, 0] == pytest.approx(np.arange(256), abs=1)


def test_float_and_32_bit_grey_keep_their_shades() -> None:
    ramp = np.linspace(0, 1, 256)[None].repeat(4, axis=0)
    for values in (
        ramp.astype(np.float32),
        (ramp * 900 - 30).astype(np.float32),
        (ramp * 2e6).astype(np.int32),
    ):
        picture = open_image(encoded(Image.fromarray(values), "TIFF"))
        assert np.asarray(picture)[0, :, 0] == pytest.approx(np.arange(256), abs=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_shown_over_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture = encoded(clear.convert(mode), "TIFF" if mode == "PA" else "PNG") if mode != "P" else _palette()
    assert colour(open_image(picture)) == (255, 255, 255)


def _palette() -> bytes:
    picture = Image.new("P", (8, 8), 3)
    picture.putpalette([0, 0, 0] * 4)
    return encoded(picture, "PNG", transparency=3)


def test_half_transparency_is_mixed_with_white() -> None:
    picture = open_image(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"))
    assert colour(picture) == pytest.approx((255, 127, 127), abs=1)


def test_a_palette_gives_its_colours() -> None:
    assert colour(open_image(encoded(plain((10, 200, 90)).quantize(4), "PNG"))) == (10, 200, 90)


def test_cmyk_gives_its_colours() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert colour(open_image(encoded(red, "JPEG"))) == pytest.approx((255, 0, 0), abs=6)
    broken = encoded(red, "JPEG", icc_profile=b"no profile")
    assert colour(open_image(broken)) == pytest.approx((255, 0, 0), abs=6)


def test_lab_gives_its_colours() -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(plain((120, 160, 90)), *profiles, outputMode="LAB")
    assert lab is not None
    assert colour(open_image(encoded(lab, "TIFF"))) == pytest.approx((120, 160, 90), abs=6)


def test_arrays_are_pictures() -> None:
    assert colour(from_array(np.full((4, 5, 3), (1, 2, 3), np.uint8))) == (1, 2, 3)
    assert colour(from_array(np.full((4, 5), 9, np.uint8))) == (9, 9, 9)
    assert colour(from_array(np.zeros((4, 5, 4), np.uint8))) == (255, 255, 255)


def test_a_picture_of_pillows_is_turned_and_checked() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = from_picture(Image.open(BytesIO(encoded(scene(), "JPEG", exif=exif))))
    assert turned.size == (200, 300)
    half = encoded(scene(), "JPEG")[:2000]
    with pytest.raises(ImageError, match="truncated"):
        from_picture(Image.open(BytesIO(half)))


@pytest.mark.parametrize("array", [np.zeros((4, 5, 2), np.uint8), np.zeros((4, 5, 3)), np.zeros((0, 5), np.uint8)])
def test_other_arrays_are_refused(array: Any) -> None:
    with pytest.raises(ImageError, match="must be uint8"):
        from_array(array)


# reduced scale


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_large_picture_is_reduced_to_no_less_than_twice_the_target(format: str) -> None:
    large = scene((3000, 2000))
    reduced = open_image(encoded(large, format), 128)
    assert 256 <= min(reduced.size) <= 512
    assert reduced.width / reduced.height == pytest.approx(1.5, abs=0.02)
    assert np.asarray(reduced.resize((30, 20))) == pytest.approx(np.asarray(large.resize((30, 20))), abs=6)


def test_without_a_target_every_pixel_is_there() -> None:
    assert open_image(encoded(scene((1500, 1000)), "JPEG")).size == (1500, 1000)


# what can't be read


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header() -> None:
    for look in (open_image, size_of):
        with pytest.raises(ImageError, match=r"30000 × 30000 pixels: over the limit of 200 million"):
            look(png_header(30000, 30000))


def test_pillows_own_limit_stays_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    open_image(encoded(plain("red"), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_picture_under_the_limit_is_opened_where_pillow_would_warn() -> None:
    side = int((Image.MAX_IMAGE_PIXELS or 0) ** 0.5) + 100
    assert side**2 < PIXEL_LIMIT
    large = encoded(Image.new("1", (side, side)), "PNG")
    assert min(open_image(large, 16).size) >= 32


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_refused_or_read_but_nothing_worse(format: str) -> None:
    whole = encoded(scene(), format)
    reasons = []
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        try:
            open_image(whole[:length])
        except ImageError as error:
            reasons.append(str(error))
    assert len(reasons) > 20
    assert all(reason and "\n" not in reason for reason in reasons)


def test_a_truncated_jpeg_says_so() -> None:
    whole = encoded(scene(), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        open_image(whole[: len(whole) // 2])


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ImageError, match=r"none of JPEG, PNG, .*HEIC"):
        open_image(tmp_path / "text.jpg")


def test_a_format_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ImageError, match="none of"):
        open_image(encoded(plain("red"), "PPM"))


def test_a_missing_file_and_an_impossible_name_say_why(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="null"):
        open_image("a\0b.jpg")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    caught: list[Exception] = []

    def attempt() -> None:
        try:
            open_image(tmp_path / "pipe.jpg")
        except ImageError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert "pipe" in str(caught)


# what a host may have set


@pytest.mark.parametrize("source", ["open_image", "size_of"])
def test_errors_made_of_warnings_change_nothing(source: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sound = exif.tobytes()
    odd = sound[:-4] + struct.pack(">I", 0) + b"\0" * 4  # a tag that Pillow warns of, beside the orientation
    odd = odd.replace(b"\x00\x01\x01\x12", b"\x00\x02\x01\x0f\x00\x02\x00\x00\xff\xff\x00\x00\xff\xff\x01\x12", 1)
    picture = encoded(plain("red", (40, 20)), "JPEG", exif=odd)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = open_image(picture).size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (open_image(picture).size if source == "open_image" else size_of(picture)) == expected == (20, 40)


def test_a_truncated_picture_is_refused_though_the_host_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    for format in ("JPEG", "PNG"):
        whole = encoded(scene(), format)
        with pytest.raises(ImageError, match=r"truncated|broken"):
            open_image(whole[: len(whole) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_pillows_globals_are_given_back_when_several_threads_decode() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    whole = encoded(scene(), "PNG")
    sources = [whole, whole[:500], b"none"] * 20

    def attempt(source: bytes) -> None:
        with suppress(ImageError):
            open_image(source)

    threads = [threading.Thread(target=attempt, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


# memory and time, whatever the header says


def test_a_png_with_huge_metadata_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    info = PngInfo()
    info.add_text("notes", "x" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = encoded(plain("red", (40, 20)), "PNG", pnginfo=info, exif=exif)
    assert open_image(picture).size == size_of(picture) == (20, 40)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16", "I", "F"])
def test_shrinking_by_tiles_looks_like_shrinking_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.tiles.SIDE", 100)
    grey = np.asarray(scene((437, 301)).convert("L"))
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in deep:
        image = Image.fromarray(grey.astype(deep[mode]) * deep[mode](257))
    else:
        image = scene((437, 301)).convert(mode)
        if mode.endswith("A"):
            image.putalpha(Image.fromarray(grey))
    whole = to_rgb(image)
    assert whole.size == (437, 301)
    small = to_rgb(image, 7)
    assert small.size == (63, 43)
    assert np.asarray(small) == pytest.approx(np.asarray(whole.reduce(7)), abs=1)


def test_what_is_no_number_is_black_and_leaves_the_rest_its_shades() -> None:
    ramp = np.linspace(-5, 5, 256, dtype=np.float32)[None].repeat(4, axis=0)
    ramp[1] = np.nan
    ramp[2] = np.inf
    ramp[3] = -np.inf
    values = np.asarray(open_image(encoded(Image.fromarray(ramp), "TIFF")))[:, :, 0]
    assert values[0] == pytest.approx(np.arange(256), abs=1)
    assert values[1:, 0].tolist() == [0, 255, 0]


def test_a_jpeg_of_very_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(scene(), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    many = whole[:-2] + last * 90 + whole[-2:]
    assert open_image(many).size == (300, 200)
    monkeypatch.setattr("congener.limits._SCAN_PIXELS", 50 * 300 * 200)
    assert open_image(whole).size == (300, 200)
    with pytest.raises(ImageError, match="scans or more of 300 × 200 pixels"):
        open_image(many)
    assert open_image(whole + bytes(2**20) + last * 90).size == (300, 200)  # behind the picture's end


def test_a_webp_of_a_vast_canvas_is_refused_before_its_decoder_takes_room() -> None:
    canvas = (99_999).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + encoded(scene(), "WEBP")[12:]
    with pytest.raises(ImageError, match="100000 × 100000 pixels: over the limit of 100 million for WEBP"):
        open_image(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_formats_that_cost_more_have_lower_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits._LIMITS, "WEBP", 5000)
    with pytest.raises(ImageError, match=r"300 × 200 pixels: over the limit of .* for WEBP"):
        open_image(encoded(scene(), "WEBP"))
    assert open_image(encoded(scene(), "PNG")).size == (300, 200)


def test_what_precedes_the_pixels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_HEADER_BYTES", 100_000)
    picture = encoded(scene(), "JPEG", comment=b"c" * 60_000)
    assert open_image(picture).size == (300, 200)
    with pytest.raises(ImageError, match="before the pixels"):
        open_image(b"\xff\xd8" + picture[2 : picture.index(b"\xff\xdb")] * 2 + picture[2:])
    with pytest.raises(ImageError, match="before the pixels"):  # read as a whole
        open_image(encoded(scene(), "WEBP") + bytes(200_000))


def test_a_tiff_that_lacks_rows_is_refused() -> None:
    whole = encoded(Image.new("L", (8, 8)), "TIFF")
    at = whole.index(struct.pack("<HHI", 257, 4, 1)) + 8
    with pytest.raises(ImageError, match="8 of its 5000 rows"):
        open_image(whole[:at] + struct.pack("<I", 5000) + whole[at + 4 :])


def test_a_fault_of_the_disk_is_not_called_damage() -> None:
    class Failing(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(ImageError, match="can't be read: Input/output error"):
        open_image(Failing())


# what a TIFF says of its turn


ORIENTATION = 274
STRIPED: dict[str, dict[str, Any]] = {
    "raw": {},
    "raw strips": {"rows": 16},
    "raw tiles": {"tile": (64, 32)},
    "raw planes": {"planar": True, "rows": 16},
    "deflate": {"compression": DEFLATE, "rows": 16},
    "deflate tiles": {"compression": DEFLATE, "tile": (64, 32)},
    "deflate planes": {"compression": DEFLATE, "planar": True},
    "packbits": {"compression": PACKBITS, "rows": 16},
}
COMPRESSIONS = ["tiff_lzw", "jpeg", "group3", "group4", "lzma"]
if int(PIL.__version__.split(".")[0]) >= 12:  # to try damages the memory of earlier ones
    COMPRESSIONS.append("zstd")


def assert_turned_like_a_png(picture: bytes, stored: Image.Image, orientation: int) -> None:
    png = turned(stored, orientation)
    assert size_of(picture) == size_of(png)
    for target in (None, 25):  # of odd sides, so that shrinking leaves a rest on the right side
        assert apart(open_image(picture, target), open_image(png, target)) == 0


@pytest.mark.parametrize("layout", STRIPED)
def test_a_tiff_is_turned_as_it_says_however_it_is_laid_out(layout: str) -> None:
    stored = scene((203, 151))
    for orientation in range(1, 9):
        tags = {ORIENTATION: (3, [orientation])}
        picture = tiff((np.asarray(stored), {**STRIPED[layout], "tags": tags}))
        assert_turned_like_a_png(picture, stored, orientation)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tiff_is_turned_as_it_says_in_every_compression(compression: str) -> None:
    scan = scene((203, 151)).convert("1" if compression.startswith("group") else "RGB")
    stored = open_image(encoded(scan, "TIFF", compression=compression))
    for orientation in range(1, 9):
        picture = encoded(scan, "TIFF", compression=compression, tiffinfo={ORIENTATION: orientation})
        assert_turned_like_a_png(picture, stored, orientation)


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.float32])
def test_a_tiff_of_other_depths_is_turned_as_it_says(dtype: type) -> None:
    grey = np.asarray(scene((203, 151)).convert("L"))
    pixels = (
        grey > 90 if dtype is bool else (grey.astype(dtype) * (257 if dtype is np.uint16 else 1 / 255)).astype(dtype)
    )
    stored = open_image(tiff((pixels, {})))
    for compression in (RAW, DEFLATE):
        for orientation in (3, 6, 7):
            options = {"compression": compression, "tags": {ORIENTATION: (3, [orientation])}}
            assert_turned_like_a_png(tiff((pixels, options)), stored, orientation)


def test_a_turned_tiff_of_a_file_is_read_as_one_of_bytes(tmp_path: Path) -> None:
    for compression in ("raw", "tiff_lzw"):
        picture = encoded(scene(), "TIFF", compression=compression, tiffinfo={ORIENTATION: 5})
        (tmp_path / "a.tif").write_bytes(picture)
        assert size_of(tmp_path / "a.tif") == (200, 300)
        assert apart(open_image(tmp_path / "a.tif"), open_image(turned(scene(), 5))) == 0


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("layout", STRIPED)
def test_a_turned_tiff_that_lacks_a_strip_is_refused(layout: str, orientation: int) -> None:
    if not {"rows", "tile", "planar"} & set(STRIPED[layout]):
        return  # its only strip
    for size in ((160, 120), (120, 160)):
        options = {**STRIPED[layout], "lost": 1, "tags": {ORIENTATION: (3, [orientation])}}
        with pytest.raises(ImageError, match=rf"holds \d+ of its {size[1]} rows"):
            open_image(tiff((np.asarray(scene(size)), options)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_picture_as_shown(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = encoded(scene((48, 32)), format, exif=exif)
    assert size_of(picture) == open_image(picture).size == ((32, 48) if orientation >= 5 else (48, 32))


def test_pillows_rules_are_ours_until_the_last_of_several_threads_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    rules = limits.OwnRules()
    rules.__enter__()  # one thread
    rules.__enter__()  # another
    rules.__exit__()  # the first is done
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (None, False)
    rules.__exit__()
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (12345, True)


def test_as_much_as_the_limit_may_be_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_HEADER_BYTES", 100)
    monkeypatch.setattr(limits, "_HEADER_READS", 3)
    assert limits.Metered(BytesIO(bytes(100))).read() == bytes(100)
    for sizes, problem in (((-1,), "over the limit"), ((60, 40, 1), "over the limit"), ((1, 1, 1, 1), "small pieces")):
        metered = limits.Metered(BytesIO(bytes(101)))
        for size in sizes[:-1]:
            assert len(metered.read(size)) == size
        with pytest.raises(ImageError, match=problem):
            metered.read(sizes[-1])
