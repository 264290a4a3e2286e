"""How many near copies are found, by kind of change, and how many different photos are taken for copies.

    python benchmarks/duplicates.py [--photos 110] [--rows 10000,30000] [--peers-python PYTHON] [--quick] [--json]

Photos of animals100 and grocery are changed as people and programs change them, and each is held to its original. A
false pair is two photos of the sets, which have no copies. Recall and false pairs are told for several thresholds of
the fingerprint; then `find_duplicates` runs once over all of it: the sets and every changed picture, so that each
has up to 28 near copies; and over 12 of each form of `templates.py`, which are no copies of one another, with four true
copies. The peer's hashes (imagededup's, of 64 bits) see the same files; it calls copies what differs in 10 bits or
fewer. `rows` is how long it takes to find the nearest of made embeddings, which grows with the square.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from common import machine, made, photos, report
from congener import Gallery, codes
from congener.cores import cores
from congener.duplicates.find import DEFAULT, NEIGHBOURS, find_duplicates
from congener.duplicates.fingerprint import BITS, TARGET, apart, fingerprint
from congener.images import open_image
from congener.indexes import ExactIndex
from peers import peers_python
from templates import TEMPLATES

SETS = ("animals100", "grocery")
THRESHOLDS = (40, 60, 80, 100, DEFAULT)
PEER_THRESHOLDS = (4, 6, 8, 10, 12)
MOST_PIXELS = 1600

Change = Callable[[Image.Image, Path], None]


def saved(ending: str, **options: Any) -> Change:
    """Save it as another format or quality."""
    return lambda image, path: image.save(path.with_suffix(ending), **options)


def scaled(share: float) -> Change:
    """Save it smaller."""

    def change(image: Image.Image, path: Path) -> None:
        size = max(1, round(share * image.width)), max(1, round(share * image.height))
        image.resize(size, Image.Resampling.LANCZOS).save(path.with_suffix(".jpg"), quality=90)

    return change


def cropped(share: float, left: float) -> Change:
    """Cut a share of width and height off, this much of it at the left and the top."""

    def change(image: Image.Image, path: Path) -> None:
        x, y = share * image.width, share * image.height
        box = (x * left, y * left, image.width - x * (1 - left), image.height - y * (1 - left))
        image.crop(tuple(map(round, box))).save(path.with_suffix(".jpg"), quality=90)  # type: ignore[arg-type]

    return change


def enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Change:
    """Change its brightness or contrast."""
    return lambda image, path: kind(image).enhance(factor).save(path.with_suffix(".jpg"), quality=90)


def marked(image: Image.Image, path: Path) -> None:
    """Write a name into its corner."""
    layer = Image.new("RGBA", image.size)
    place, font = (0.95 * image.width, 0.95 * image.height), ImageFont.load_default(max(10, image.height // 16))
    ImageDraw.Draw(layer).text(place, "© A. Photographer", (255, 255, 255, 180), font, anchor="rb")
    marked = Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")
    marked.save(path.with_suffix(".jpg"), quality=90)


def turned(image: Image.Image, path: Path) -> None:
    """Turn its pixels, and say so in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), quality=90, exif=exif)


def framed(share: float, colour: str) -> Change:
    """Put a frame of one colour around it."""
    return lambda image, path: ImageOps.expand(image, max(2, round(share * min(image.size))), colour).save(
        path.with_suffix(".jpg"), quality=85
    )


def tinted(gains: Sequence[float], levels: Sequence[float]) -> Change:
    """Make it grey, and that a tint."""

    def change(image: Image.Image, path: Path) -> None:
        grey = np.asarray(image.convert("L"), np.float32)[..., None]
        pixels = np.clip(grey * np.array(gains) + np.array(levels), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=85)

    return change


def multiplied(*gains: float) -> Change:
    """Make red, green and blue so much brighter."""

    def change(image: Image.Image, path: Path) -> None:
        pixels = np.clip(np.asarray(image, np.float32) * np.array(gains), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=85)

    return change


CHANGES: dict[str, Change] = {
    **{f"JPEG quality {quality}": saved(".jpg", quality=quality) for quality in (95, 75, 50, 30)},
    **{f"scaled to {share:.0%}": scaled(share) for share in (0.75, 0.5, 0.25)},
    "PNG": saved(".png"),
    "WebP": saved(".webp", quality=80),
    "cropped by 2 %": cropped(0.02, 0.5),
    "cropped by 5 %": cropped(0.05, 0.5),
    "cropped by 5 %, one corner": cropped(0.05, 1),
    "brighter by 10 %": enhanced(ImageEnhance.Brightness, 1.1),
    "darker by 10 %": enhanced(ImageEnhance.Brightness, 0.9),
    "contrast + 10 %": enhanced(ImageEnhance.Contrast, 1.1),
    "contrast - 10 %": enhanced(ImageEnhance.Contrast, 0.9),
    "marked": marked,
    "turned by EXIF": turned,
    "grey": lambda image, path: image.convert("L").save(path.with_suffix(".jpg"), quality=90),
    "white frame of 4 %": framed(0.04, "white"),
    "brown frame of 8 %": framed(0.08, "sienna"),
    "black bars": lambda image, path: ImageOps.expand(image, (0, image.height // 8), "black").save(
        path.with_suffix(".jpg"), quality=85
    ),
    "sepia": tinted((1.07, 0.89, 0.7), (12, 0, 0)),
    "cyanotype": tinted((0.6, 0.9, 1.1), (0, 0, 0)),
    "saturation x 1.6": enhanced(ImageEnhance.Color, 1.6),
    "saturation x 0.6": enhanced(ImageEnhance.Color, 0.6),
    "warmer": multiplied(1.1, 1, 0.9),
    "exposure x 1.7": multiplied(1.7, 1.7, 1.7),
    "mirrored (another picture)": lambda image, path: ImageOps.mirror(image).save(path.with_suffix(".jpg")),
}

PEER = """
import json, sys
from imagededup.methods import DHash, PHash
files = json.load(open(sys.argv[1]))
print(json.dumps({m.__name__: [m().encode_image(f) for f in files] for m in (DHash, PHash)}))
"""


def prepare(source: Path, count: int, place: Path) -> tuple[list[Path], dict[str, list[tuple[int, Path]]]]:
    """Copy all photos of the sets and change some; return them, and by change (position of original, file)."""
    originals: list[Path] = []
    chosen: list[int] = []
    for name in SETS:
        files = [path for path in sorted((source / name / "gallery").rglob("*")) if path.is_file()]
        files = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
        chosen += range(len(originals), len(originals) + len(files), -(-len(files) // count))
        for path in files:
            originals.append(place / "original" / name / path.parent.name / path.name)
            originals[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, originals[-1])

    def change(number: int) -> None:
        image = open_image(originals[number])
        image.thumbnail((MOST_PIXELS, MOST_PIXELS))
        for at, make in enumerate(CHANGES.values()):
            make(image, place / "changed" / f"{at:02}" / f"{number}.x")

    for at in range(len(CHANGES)):
        (place / "changed" / f"{at:02}").mkdir(parents=True)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(change, chosen))
    folders = {name: place / "changed" / f"{at:02}" for at, name in enumerate(CHANGES)}
    return originals, {
        name: [(int(path.stem), path) for path in sorted(folder.iterdir())] for name, folder in folders.items()
    }


def judge(
    count: int,
    changed: dict[str, list[tuple[int, Path]]],
    prints: NDArray[np.uint8],
    differ: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.int64]],
    thresholds: Sequence[int],
) -> dict[str, Any]:
    """Return recall by change and pairs of different photos, for each threshold; prints: of originals, then changed."""
    recall, start = {}, count
    for name, files in changed.items():
        bits = differ(prints[start : start + len(files)], prints[[number for number, _ in files]])
        recall[name] = {str(threshold): float((bits <= threshold).mean()) for threshold in thresholds}
        start += len(files)
    pairs = np.concatenate([differ(prints[at + 1 : count], prints[at]) for at in range(count - 1)])
    false = {str(threshold): int((pairs <= threshold).sum()) for threshold in thresholds}
    return {"recall": recall, "false_pairs": false, "pairs": len(pairs), "nearest_pair": int(pairs.min())}


def hamming(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return in how many bits hashes (…, bytes) differ."""
    bits: NDArray[np.int64] = np.unpackbits(a ^ b, axis=-1).sum(axis=-1, dtype=np.int64)
    return bits


def whole(place: Path, store: Path, originals: list[Path], changed: dict[str, list[tuple[int, Path]]]) -> Any:
    """Run `find_duplicates` over all of it; return recall by change, and groups of more than one original."""
    with Gallery(place, store=store) as gallery:
        gallery.update()
        found = find_duplicates(gallery)
    groups = sorted(found.groups, key=lambda group: group.kind == "near")  # a near group's number counts
    group_of = {place / m.path: number for number, group in enumerate(groups) for m in group.images}
    marked = {place / m.path for group in groups for m in group.images if m.marked}
    recall = {
        name: float(np.mean([group_of.get(path, -1) == group_of.get(originals[at], -2) for at, path in files]))
        for name, files in changed.items()
    }
    of_originals = [group_of[path] for path in originals if path in group_of]
    return {
        "images": found.images,
        "groups": len(found.groups),
        "near": found.near,
        "seconds": found.seconds,
        "groups_of_different_photos": len(of_originals) - len(set(of_originals)),
        "told_as_marked": float(np.mean([path in marked for _, path in changed["marked"]])),
        "recall": recall,
    }


def template_groups(place: Path) -> dict[str, Any]:
    """Return, by kind of template, how many of 12 of one form are taken for copies, and how many true copies found."""
    found = {}
    for kind, draw in TEMPLATES.items():
        folder = place / kind
        folder.mkdir(parents=True)
        for number in range(12):
            page = draw(number)
            page.save(folder / f"{number:02}.png")
            if number < 4:
                page.resize((page.width * 3 // 4, page.height * 3 // 4)).save(
                    folder / f"{number:02}-smaller.jpg", quality=80
                )
        with Gallery(folder) as gallery:
            gallery.update()
            groups = [{member.path[:2] for member in group.images} for group in find_duplicates(gallery).groups]
        found[kind] = {
            "false": sum(len(group) - 1 for group in groups),
            "true of 4": sum(len(group) == 1 for group in groups),
        }
    return found


def nearest_seconds(rows: int) -> float:
    """Return how long the search for the nearest of all takes among so many made embeddings."""
    embeddings = made(rows, 256, 1).astype(np.float16)
    index = ExactIndex.over(np.arange(rows), embeddings)
    start = time.perf_counter()
    for at in range(0, rows, 1024):
        index.search(codes.unit(embeddings[at : at + 1024]), NEIGHBOURS + 1)
    return time.perf_counter() - start


def peer(python: Path, files: list[Path], place: Path) -> dict[str, NDArray[np.uint8]]:
    """Return imagededup's hashes (n, 8) by method; none where it isn't installed."""
    listed = place / "files.json"
    listed.write_text(json.dumps(list(map(str, files))))
    if not python.exists():
        return {}  # the lines then have no peer
    done = subprocess.run([python, "-c", PEER, listed], capture_output=True, text=True, check=False)
    if done.returncode:
        return {}
    told = json.loads(done.stdout.splitlines()[-1])
    return {name: np.array([list(bytes.fromhex(each)) for each in hashes], np.uint8) for name, hashes in told.items()}


def as_lines(result: dict[str, Any]) -> list[str]:
    """Return the tables for people."""
    lines = []
    for name, judged in result["hashes"].items():
        thresholds = list(judged["false_pairs"])
        lines.append(f"{name}, bits: {'':>{max(0, 20 - len(name))}}" + "".join(f"{each:>8}" for each in thresholds))
        for change, recall in judged["recall"].items():
            lines.append(f"  {change:28}" + "".join(f"{recall[each]:8.3f}" for each in thresholds))
        counts = "".join(f"{judged['false_pairs'][each]:8}" for each in thresholds)
        lines.append(f"  {'false pairs':28}{counts}  of {judged['pairs']:,}; the nearest: {judged['nearest_pair']}")
    found = result["find_duplicates"]
    lines.append(
        f"find_duplicates, {found['images']:,} images: {found['seconds']:.1f} s, {found['groups']} groups, "
        f"{found['groups_of_different_photos']} times two photos in one"
    )
    lines += [f"  {change:28}{recall:8.3f}" for change, recall in found["recall"].items()]
    lines += [f"  12 of one {kind:18}{told}" for kind, told in result["templates"].items()]
    lines += [f"the nearest of {rows} made embeddings: {each:.1f} s" for rows, each in result["rows"].items()]
    return lines


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=110, help="of each set, to be changed")
    parser.add_argument("--rows", default="10000,30000", help="made embeddings to search; 0 for none")
    parser.add_argument("--peers-python")
    parser.add_argument("--quick", action="store_true", help="few photos and rows; nothing is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count, rows = (10, "10000") if options.quick else (options.photos, options.rows)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        originals, changed = prepare(photos(), count, place / "pictures")
        files = originals + [path for each in changed.values() for _, path in each]
        start = time.perf_counter()
        with ThreadPoolExecutor(cores()) as pool:
            prints = np.stack(list(pool.map(lambda path: fingerprint(open_image(path, TARGET)), files)))
        seconds = time.perf_counter() - start
        hashes = {f"congener ({BITS})": judge(len(originals), changed, prints, partial(apart, most=140), THRESHOLDS)}
        for method, theirs in peer(peers_python(options.peers_python), files, place).items():
            hashes[f"imagededup {method} (64)"] = judge(len(originals), changed, theirs, hamming, PEER_THRESHOLDS)
        found = whole(place / "pictures", place / "store", originals, changed)
        templates = template_groups(place / "templates")
    result = {
        "machine": machine(),
        "photos": {"all": len(originals), "changed": len(files) - len(originals)},
        "default": DEFAULT,
        "images_per_second": len(files) / seconds,
        "hashes": hashes,
        "find_duplicates": found,
        "templates": templates,
        "rows": {f"{each:,}": nearest_seconds(each) for each in map(int, rows.split(",")) if each},
    }
    report("duplicates", result, as_lines(result), as_json=options.json, keep=not options.quick)


if __name__ == "__main__":
    main()
