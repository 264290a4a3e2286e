import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from congener import Gallery
from congener.duplicates.difference import compare
from congener.duplicates.find import DEFAULT, Duplicates, find_duplicates
from congener.duplicates.fingerprint import BITS, difference_hash, fingerprint
from congener.duplicates.fingerprint import apart as fingerprints_apart
from congener.errors import CongenerError, ImageError
from congener.fit import BLEND
from congener.images import open_image
from congener.searcher import Lens
from congener.store import Embedded
from congener.workers import Workers

from ..conftest import MeanColour, plain, write
from ..test_check import unstamped

Change = Callable[[Image.Image, Path], None]


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Change:
    return lambda image, path: kind(image).enhance(factor).save(path.with_suffix(".jpg"))


def _quality(quality: int) -> Change:
    return lambda image, path: image.save(path.with_suffix(".jpg"), quality=quality)


def _scaled(share: float) -> Change:
    def change(image: Image.Image, path: Path) -> None:
        image.resize((int(image.width * share), int(image.height * share))).save(path.with_suffix(".jpg"), quality=90)

    return change


def _cropped(image: Image.Image, path: Path) -> None:
    x, y = image.width / 100, image.height / 100
    image.crop((round(x), round(y), round(99 * x), round(99 * y))).save(path.with_suffix(".jpg"), quality=90)


def _marked(image: Image.Image, path: Path) -> None:
    image = image.copy()
    place = 0.95 * image.width, 0.95 * image.height
    font = ImageFont.load_default(image.height / 16)
    ImageDraw.Draw(image).text(place, "© Nobody", "white", font, anchor="rb")
    image.save(path.with_suffix(".jpg"), quality=90)


def _turned(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise when shown
    image.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), quality=90, exif=exif)


CHANGES: dict[str, Change] = {
    "quality 75": _quality(75),
    "quality 30": _quality(30),
    "three quarters": _scaled(0.75),
    "half": _scaled(0.5),
    "PNG": lambda image, path: image.save(path.with_suffix(".png")),
    "WebP": lambda image, path: image.save(path.with_suffix(".webp"), quality=80),
    "cropped by 2 %": _cropped,
    "brighter": _enhanced(ImageEnhance.Brightness, 1.1),
    "darker": _enhanced(ImageEnhance.Brightness, 0.9),
    "more contrast": _enhanced(ImageEnhance.Contrast, 1.1),
    "less contrast": _enhanced(ImageEnhance.Contrast, 0.9),
    "marked": _marked,
    "turned": _turned,
    "grey": lambda image, path: image.convert("L").save(path.with_suffix(".jpg"), quality=90),
}


def with_changed(originals: list[Path], folder: Path) -> set[frozenset[str]]:
    """Copy pictures and add one of each change, each of another picture; return what belongs together."""
    pairs = set()
    for number, original in enumerate(originals):
        copy = folder / original.parent.name / original.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(original, copy)
        if number < len(CHANGES):
            changed = folder / "changed" / f"{number}"
            changed.parent.mkdir(exist_ok=True)
            list(CHANGES.values())[number](open_image(original), changed)
            (made,) = changed.parent.glob(f"{number}.*")
            pairs.add(frozenset(path.relative_to(folder).as_posix() for path in (copy, made)))
    return pairs


def of(gallery: Gallery, threshold: int = DEFAULT) -> Duplicates:
    """Return its duplicates after an update, with counts that add up."""
    gallery.update()
    return checked(find_duplicates(gallery, threshold))


def checked(found: Duplicates) -> Duplicates:
    spare = {
        kind: sum(not m.link for g in found.groups if g.kind == kind for m in g.images[1:])
        for kind in ("copies", "near")
    }
    assert spare == {"copies": found.copies, "near": found.near}
    assert found.images == found.distinct + found.copies + found.near + found.links + len(found.skipped)
    saved = [m.bytes for group in found.groups for m in group.images[1:] if not m.link and not m.marked]
    assert found.bytes == sum(saved)
    for group in found.groups:
        limit = 0 if group.kind == "copies" else found.threshold
        assert group.images[0].distance == 0
        assert all(member.distance <= limit for member in group.images)
    return found


def paths(found: Duplicates) -> list[list[str]]:
    return [[member.path for member in group.images] for group in found.groups]


def cells(seed: int, side: int = 128) -> Image.Image:
    """Return a picture of 16 × 16 random greys."""
    grey = np.random.default_rng(seed).integers(60, 200, (16, 16), np.uint8)
    return Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def apart(a: Image.Image, b: Image.Image) -> int:
    return int(fingerprints_apart(fingerprint(a), fingerprint(b)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


# exact copies


def test_files_of_equal_content_are_copies(colours: Path, encoder: MeanColour) -> None:
    shutil.copy(colours / "warm/red.png", colours / "warm/red (1).png")
    shutil.copy(colours / "warm/red.png", colours / "cold/a-copy.png")
    found = of(Gallery(colours, encoder=encoder))
    assert paths(found) == [["warm/red.png", "warm/red (1).png", "cold/a-copy.png"]]  # the older copy first
    (group,) = found.groups
    assert group.kind == "copies"
    assert (found.images, found.distinct, found.copies, found.near, found.skipped) == (7, 5, 2, 0, ())
    size = (colours / "warm/red.png").stat().st_size
    assert {(m.bytes, m.width, m.height, m.distance) for m in group.images} == {(size, 12, 12, 0)}
    assert [member.label for member in group.images] == ["warm", "warm", "cold"]
    assert found.bytes == group.bytes == 2 * size


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what fills with the files that are opened."""
    opened: list[str] = []
    call = Workers.call

    def counted(workers: Workers, function: Callable[..., Any], file: str) -> Any:
        opened.append(file)
        return call(workers, function, file)

    monkeypatch.setattr(Workers, "call", counted)
    return opened


def test_a_thousand_identical_files_are_one_group_of_which_one_is_opened(
    folder: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(folder / "0000.png", "red")
    for number in range(1, 1000):
        shutil.copy(first, folder / f"{number:04}.png")
    gallery = Gallery(folder, encoder=encoder)
    gallery.update()
    opened = watched(monkeypatch)
    found = checked(find_duplicates(gallery))
    assert paths(found) == [[f"{number:04}.png" for number in range(1000)]]
    assert (found.copies, found.near, found.distinct) == (999, 0, 1)
    assert opened == [str(first)]


# near copies


def test_each_change_is_found_and_no_two_specimens_of_a_kind(cabinet: Path, tmp_path: Path) -> None:
    originals = sorted(cabinet.rglob("*.jpg"))
    pairs = with_changed(originals[::4] + originals[1::4] + originals[2::4], tmp_path / "some")
    found = of(Gallery(tmp_path / "some"))
    assert set(map(frozenset, paths(found))) == pairs
    assert len(pairs) == found.near == len(CHANGES)


def test_each_change_of_a_photo_is_found_and_no_two_photos_of_a_kind(photos: Path, tmp_path: Path) -> None:
    originals = [path for kind in sorted(photos.glob("animals100/gallery/*"))[::5] for path in sorted(kind.iterdir())]
    pairs = with_changed(originals[::4], tmp_path / "some")
    assert set(map(frozenset, paths(of(Gallery(tmp_path / "some"))))) == pairs


def test_a_mirrored_picture_is_another(folder: Path, encoder: MeanColour) -> None:
    cells(1).save(folder / "one.png")
    ImageOps.mirror(cells(1)).save(folder / "mirrored.png")
    assert of(Gallery(folder, encoder=encoder)).groups == ()


def test_pictures_in_other_colours_are_no_copies_but_grey_ones_are(folder: Path, encoder: MeanColour) -> None:
    def tinted(*colour: int) -> Image.Image:
        return Image.fromarray(np.asarray(cells(1), np.uint8) // 2 + np.array(colour, np.uint8))

    for name, colour in (("red", (30, 0, 0)), ("reddish", (32, 4, 2)), ("blue", (0, 6, 30))):
        tinted(*colour).save(folder / f"{name}.png")
    gallery = Gallery(folder, encoder=encoder)
    assert paths(of(gallery)) == [["reddish.png", "red.png"]]
    (folder / "reddish.png").unlink()
    tinted(7, 7, 7).resize((160, 160)).save(folder / "grey.png")
    assert paths(of(gallery)) == [["grey.png", "blue.png", "red.png"]]


def test_a_picture_in_which_nothing_is_to_be_seen_is_no_copy(folder: Path, encoder: MeanColour) -> None:
    for name, change in (("white", None), ("a dot", (50, 50, 56, 56)), ("a stroke", (20, 100, 50, 102))):
        picture = plain("white", (120, 120))
        if change:
            picture.paste("black", change)
        picture.save(folder / f"{name}.png")
        picture.resize((100, 100)).save(folder / f"{name}, smaller.png")
    assert of(Gallery(folder, encoder=encoder)).groups == ()


def test_signs_of_one_frame_are_no_copies(folder: Path, encoder: MeanColour) -> None:
    """What they share is most of the picture, which says nothing, and the frame."""
    shapes: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
        "arch": lambda draw: draw.line([(76, 185), (76, 135), (124, 135), (124, 185)], "black", 14),
        "cross": lambda draw: draw.line([(70, 130), (130, 185), (100, 157), (70, 185), (130, 130)], "black", 12),
        "disc": lambda draw: draw.ellipse((70, 125, 130, 185), "black"),
        "post": lambda draw: draw.rectangle((92, 100, 108, 190), "black"),
    }
    for name, paint in shapes.items():
        sign = plain("white", (200, 280))
        draw = ImageDraw.Draw(sign)
        draw.polygon([(100, 60), (10, 210), (190, 210)], outline="red", width=10)
        paint(draw)
        sign.save(folder / f"{name}.png")
        sign.resize((150, 210)).save(folder / f"{name}, smaller.jpg", quality=80)
    assert paths(of(Gallery(folder, encoder=encoder))) == [
        [f"{name}.png", f"{name}, smaller.jpg"] for name in sorted(shapes)
    ]


def test_two_pages_of_text_are_no_copies(folder: Path, encoder: MeanColour) -> None:
    words = [
        "of",
        "the",
        "in",
        "a",
        "picture",
        "and",
        "code",
        "is",
        "nearest",
        "with",
        "images",
        "that",
        "are",
        "alike",
    ]
    font = ImageFont.load_default(11)
    for seed in range(4):
        drawn = np.random.default_rng(seed)
        page = plain("white", (420, 594))
        for line in range(30):
            text = " ".join(drawn.choice(words, drawn.integers(2, 14)))
            ImageDraw.Draw(page).text((40, 50 + 16 * line), text[:60], "black", font)
        page.save(folder / f"{seed}.png")
        page.resize((315, 446)).save(folder / f"{seed}, smaller.png")
    assert paths(of(Gallery(folder, encoder=encoder))) == [[f"{seed}.png", f"{seed}, smaller.png"] for seed in range(4)]


def test_pictures_with_unlike_features_are_found_by_their_hash(
    folder: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder sees another thing in a sepia picture; none is near enough here to be proposed by embedding."""
    cells(1).save(folder / "grey.png")
    cells(2).save(folder / "other.png")
    sepia = np.asarray(cells(1), np.float32) * [1, 0.9, 0.7]
    Image.fromarray(sepia.astype(np.uint8)).resize((100, 100)).save(folder / "sepia.png")
    monkeypatch.setattr("congener.duplicates.find.MIN_COSINE", 1.1)
    assert paths(of(Gallery(folder, encoder=encoder))) == [["grey.png", "sepia.png"]]


def test_what_can_not_be_read_for_the_close_look_is_told(
    folder: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, side in (("a", 128), ("b", 120), ("lost", 140)):
        cells(1).resize((side, side)).save(folder / f"{name}.png")
    gallery = Gallery(folder, encoder=encoder)
    gallery.update()
    call = Workers.call

    def failing(workers: Workers, function: Callable[..., Any], *files: str) -> Any:
        if function is compare and any(file.endswith("lost.png") for file in files):
            raise ImageError("the disk is gone")
        return call(workers, function, *files)

    monkeypatch.setattr(Workers, "call", failing)
    found = checked(find_duplicates(gallery))
    assert [(each.path, each.reason) for each in found.skipped] == [("lost.png", "the disk is gone")]
    assert paths(found) == [["a.png", "b.png"]]


def test_the_first_has_most_pixels_then_most_bytes(folder: Path, encoder: MeanColour) -> None:
    cells(1).resize((64, 64)).save(folder / "a.png")
    cells(1).save(folder / "b.jpg", quality=50)
    cells(1).save(folder / "c.jpg", quality=95)
    found = of(Gallery(folder, encoder=encoder))
    assert paths(found) == [["c.jpg", "b.jpg", "a.png"]]
    assert [(member.width, member.height) for member in found.groups[0].images] == [(128, 128), (128, 128), (64, 64)]


def test_copies_count_once_among_near_copies(folder: Path, encoder: MeanColour) -> None:
    cells(1).save(folder / "large.png")
    cells(1).resize((64, 64)).save(folder / "small.png")
    shutil.copy(folder / "small.png", folder / "small too.png")
    found = of(Gallery(folder, encoder=encoder))
    assert paths(found) == [["small.png", "small too.png"], ["large.png", "small.png"]]
    assert [group.kind for group in found.groups] == ["copies", "near"]
    assert (found.copies, found.near, found.distinct) == (1, 1, 1)


def test_the_size_is_that_of_the_picture_as_shown(folder: Path, encoder: MeanColour) -> None:
    wide = cells(1).resize((160, 128))
    wide.save(folder / "wide.png")
    _turned(wide, folder / "turned")
    (group,) = of(Gallery(folder, encoder=encoder)).groups
    assert [(member.width, member.height) for member in group.images] == [(160, 128)] * 2


def test_chains_are_cut_at_the_threshold_from_the_first(folder: Path, encoder: MeanColour) -> None:
    for name, cut in (("a", 0), ("b", 2), ("c", 4)):
        cells(1, 160).crop((cut, cut, 160 - cut, 160 - cut)).save(folder / f"{name}.png")
    a, b, c = (open_image(folder / f"{name}.png") for name in "abc")
    step = max(apart(a, b), apart(b, c))
    assert step < apart(a, c)
    gallery = Gallery(folder, encoder=encoder)
    assert paths(of(gallery, step)) == [["a.png", "b.png"]]  # not c, which is near to b alone
    assert paths(of(gallery, apart(a, c))) == [["a.png", "b.png", "c.png"]]
    d = open_image(folder / "c.png")
    d.resize((120, 120)).save(folder / "d.png")
    assert paths(of(gallery, step)) == [["a.png", "b.png"], ["c.png", "d.png"]]


def test_many_near_copies_are_one_group(folder: Path, encoder: MeanColour) -> None:
    for side in range(100, 140):  # four times as many as are compared with each
        cells(1).resize((side, side)).save(folder / f"{side}.png")
    assert paths(of(Gallery(folder, encoder=encoder))) == [[f"{side}.png" for side in range(139, 99, -1)]]


def test_the_order_of_indexing_changes_nothing(tmp_path: Path) -> None:
    names = []
    for seed in range(6):
        names += [(seed, side) for side in (128, 96, 64)[: 1 + seed % 3]]
    answers = []
    for number, order in enumerate((names, names[::-1], names[1::2] + names[::2])):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        gallery = Gallery(folder, encoder=MeanColour())
        for done, (seed, side) in enumerate(order):
            cells(seed).resize((side, side)).save(folder / f"{seed}-{side}.png")
            if done == 5:
                gallery.update()
        answers.append(paths(of(gallery)))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == [[f"{seed}-{side}.png" for side in (128, 96, 64)[: 1 + seed % 3]] for seed in (1, 2, 4, 5)]


def test_what_was_learned_from_labels_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    for label, seeds in (("odd", (1, 3, 5)), ("even", (2, 4, 6))):
        (folder / label).mkdir(parents=True)
        for seed in seeds:
            cells(seed).save(folder / label / f"{seed}.png")
            cells(seed, 100).save(folder / label / f"{seed}-small.png")
    gallery = Gallery(folder, encoder=MeanColour())
    before = paths(of(gallery))
    gallery.adapt(force=True)
    assert gallery.adapted
    asked: list[str] = []

    def vectors(lens: Lens) -> Embedded:
        asked.append(lens.space)
        return Gallery.vectors(gallery, lens)

    monkeypatch.setattr(gallery, "vectors", vectors)
    assert paths(checked(find_duplicates(gallery))) == before
    assert asked == [BLEND]
    assert len(before) == 6


# thresholds


def test_the_threshold_is_how_many_bits_may_differ(folder: Path, encoder: MeanColour) -> None:
    cells(1).save(folder / "one.png")
    cells(1).save(folder / "same pixels.bmp")
    changed = cells(1).crop((2, 2, 126, 126))
    changed.save(folder / "z.png")
    bits = apart(cells(1), changed)
    assert 0 < bits < DEFAULT
    gallery = Gallery(folder, encoder=encoder)
    gallery.update()
    pairs = {threshold: find_duplicates(gallery, threshold).near for threshold in (0, bits - 1, bits, DEFAULT)}
    assert pairs == {0: 1, bits - 1: 1, bits: 2, DEFAULT: 2}
    (group,) = find_duplicates(gallery, bits).groups
    assert sorted(member.distance for member in group.images) == [0, 0, bits]


@pytest.mark.parametrize("threshold", [-1, 257])
def test_a_threshold_out_of_range_is_refused(colours: Path, encoder: MeanColour, threshold: int) -> None:
    with pytest.raises(CongenerError, match=rf"from 0 to 256 of {BITS} bits, not {threshold}"):
        find_duplicates(Gallery(colours, encoder=encoder), threshold)


# files that are no longer what was indexed


def test_files_gone_changed_or_damaged_are_reported(folder: Path, encoder: MeanColour) -> None:
    for name in ("gone", "changed", "damaged", "one"):
        cells(1).save(folder / f"{name}.png")
    cells(1).resize((100, 100)).save(folder / "alone.png")
    cells(2).save(folder / "b.png")
    cells(2).resize((100, 100)).save(folder / "b small.png")
    gallery = Gallery(folder, encoder=encoder)
    assert of(gallery).copies == 3
    (folder / "gone.png").unlink()
    (folder / "b small.png").unlink()
    cells(3).save(folder / "changed.png")
    for name in ("damaged", "one"):  # as when a disk fails: of the content that is copied, none can be read
        damage(folder / f"{name}.png")
        unstamped(gallery.store_folder, f"{name}.png")
    found = checked(find_duplicates(gallery))
    reasons = {each.path: each.reason for each in found.skipped}
    assert list(reasons) == ["b small.png", "changed.png", "damaged.png", "gone.png", "one.png"]
    assert "No such file" in reasons["gone.png"]
    assert reasons["changed.png"] == "changed since it was indexed: run again"
    assert "damaged image" in reasons["damaged.png"]
    assert found.groups == ()
    assert (found.images, found.distinct) == (7, 2)


def damage(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes()[:200].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_another_copy_is_opened_where_the_first_can_not_be(folder: Path, encoder: MeanColour) -> None:
    for name in ("a", "bb", "ccc"):
        cells(1).save(folder / f"{name}.png")
    gallery = Gallery(folder, encoder=encoder)
    gallery.update()
    damage(folder / "a.png")
    found = checked(find_duplicates(gallery))
    assert paths(found) == [["bb.png", "ccc.png"]]
    assert [each.path for each in found.skipped] == ["a.png"]


# small galleries, and what it looks like


def test_an_empty_gallery_and_one_of_one_image_have_none(folder: Path, encoder: MeanColour) -> None:
    gallery = Gallery(folder, encoder=encoder)
    found = of(gallery)
    assert (found.images, found.distinct, found.groups, found.skipped) == (0, 0, (), ())
    cells(1).save(folder / "one.png")
    assert (of(gallery).images, of(gallery).groups) == (1, ())
    cells(1).save(folder / "one.bmp")
    assert paths(of(gallery)) == [["one.bmp", "one.png"]]


def test_progress_runs_over_what_is_compared_and_then_over_what_is_opened(folder: Path, encoder: MeanColour) -> None:
    for seed in range(3):
        cells(seed).save(folder / f"{seed}.png")
    gallery = Gallery(folder, encoder=encoder)
    gallery.update()
    steps: list[tuple[int, int]] = []
    find_duplicates(gallery, progress=lambda *step: steps.append(step))
    assert steps == [(3, 3), (1, 3), (2, 3), (3, 3)]


def test_as_dict_has_plain_values(folder: Path, encoder: MeanColour) -> None:
    cells(1).save(folder / "one.png")
    cells(1).save(folder / "one.bmp")
    fields = of(Gallery(folder, encoder=encoder)).as_dict()
    assert fields.keys() == {
        *("images", "distinct", "copies", "near", "marked", "links", "bytes", "threshold", "groups", "skipped"),
        "seconds",
    }
    (group,) = fields["groups"]
    assert group["kind"] == "near"
    assert [member["path"] for member in group["images"]] == ["one.bmp", "one.png"]
    assert group["images"][0].keys() == {
        *("id", "path", "label", "bytes", "width", "height", "distance", "link", "marked"),
    }


# the hash


def test_the_hash_tells_rising_from_falling_in_both_directions() -> None:
    flat, across = Image.new("L", (64, 64)), Image.linear_gradient("L").rotate(90)
    assert bits(flat) == ([0, 0], [0, 0])  # brighter, and telling, across and down
    half = BITS // 2
    assert bits(across) == ([half, 0], [half, 0])
    assert bits(across.rotate(-90)) == ([0, half], [0, half])
    assert bits(across.rotate(180)) == ([0, 0], [half, 0])


def bits(grey: Image.Image) -> tuple[list[int], list[int]]:
    """Return how many bits are set, across and down, of the hash and of what tells."""
    brighter, telling = (np.unpackbits(part).reshape(2, -1).sum(axis=1).tolist() for part in difference_hash(grey))
    return brighter, telling


def test_pictures_differ_by_the_larger_of_hash_and_cells() -> None:
    one, other, flat = (fingerprint(picture) for picture in (cells(1), cells(2), plain("white", (128, 128))))
    assert fingerprints_apart(np.stack([one, other, flat]), one).tolist()[0] == 0
    assert fingerprints_apart(one, flat) > BITS // 4
    assert fingerprints_apart(flat, flat) == BITS  # nothing is to be seen
    assert BITS // 4 < fingerprints_apart(one, other) < BITS
    spot = cells(1)
    spot.paste("white", (60, 60, 68, 68))
    hidden = fingerprints_apart(one, fingerprint(spot))
    assert 0 < hidden < DEFAULT
    assert fingerprints_apart(one, fingerprint(spot), most=0) < hidden  # by the hash alone
    for change in (ImageEnhance.Brightness(cells(1)).enhance(0.8), ImageEnhance.Contrast(cells(1)).enhance(1.2)):
        assert fingerprints_apart(one, fingerprint(change)) < 20


def test_a_bit_counts_where_either_picture_tells_something() -> None:
    """Steps that one picture has and the other, flat there, has not are a difference."""
    steps = Image.linear_gradient("L").rotate(90).resize((64, 64)).convert("RGB")
    half = steps.copy()
    half.paste((128, 128, 128), (0, 16, 64, 48))
    one, other = fingerprint(steps), fingerprint(half)
    assert fingerprints_apart(one, other, most=-1) > BITS // 4  # by the hash alone
