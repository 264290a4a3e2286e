"""What lies in a gallery's folder and isn't the gallery's is neither deleted nor written over, whatever its name."""

import os
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from congener import Gallery
from congener.check import check
from congener.connection import CATALOGUE
from congener.encoders.cache import cached_model
from congener.errors import GalleryError
from congener.owned import NEW
from congener.schema import file_name_sum, put_fact
from congener.store import Store

from .conftest import MeanColour, write
from .faults.workload import APPROXIMATE
from .test_cli import Run, run

__all__ = ["run"]  # a fixture

# as Congener's own, nearly so, and exactly so
NAMES = (
    "features-2023.csv",
    "features-1.f16.bak",
    "embeddings-backup.npy",
    "embeddings-1-blend.f16",
    "embeddings-7-blend.i8.crc",
    "graph-of-sales.png",
    "graph-2-blend",
    "graph-3-adapted.part",
    "features-2.f16",
    "features-77.f16",
    "notes.part",
    "mine.new",
)


@pytest.fixture
def place(tmp_path: Path, colours: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new gallery's folder, into which its owner puts other things."""
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 1)
    place = tmp_path / "place"
    Store.create(place, encoder.identity.as_dict()).close()
    for name in NAMES:
        (place / name).write_bytes(name.encode() * 1000)
    (place / "embeddings-2-blend.f16").mkdir()
    (place / "embeddings-2-blend.f16/picture.raw").write_bytes(b"raw")
    (place / "features-3.f16").symlink_to(colours / "green.png")
    return place


def others(place: Path) -> dict[str, bytes]:
    """Return all that its owner has put there."""
    there = {name: (place / name).read_bytes() for name in NAMES if (place / name).exists()}
    inner = place / "embeddings-2-blend.f16/picture.raw"
    return there | {"inner": inner.read_bytes(), "link": (place / "features-3.f16").read_bytes()}


def exercise(folder: Path, place: Path) -> None:
    """Do all that writes, and deletes, in a gallery's folder."""
    with Gallery(folder, store=place, encoder=MeanColour()) as gallery:
        gallery.update(index=APPROXIMATE)
        for number in range(20):
            write(folder / f"warm/{number}.png", (number, 9, 9))
        gallery.update(refit=True)
        gallery.adapt(force=True)
        shutil.rmtree(folder / "warm")
        write(folder / "cold/black.png", "black")
        gallery.update(prune=True, refit=True)
        gallery.forget()


def test_other_things_in_a_gallery_s_folder_stay(place: Path, colours: Path) -> None:
    before = others(place)
    assert before.keys() == {*NAMES, "inner", "link"}
    exercise(colours, place)
    assert others(place) == before
    assert (place / "features-3.f16").is_symlink()
    report = check(place, encoder=MeanColour(), repair=True)
    assert (report.findings, report.unused) == ((), ())
    assert others(place) == before
    for path in place.glob("features-*.f16"):  # what it wrote itself is gone but for what it needs
        assert path.name in {*NAMES, "features-3.f16"} or path.name == own(place, "features").pop()
    assert {path.name for path in place.iterdir()} - set(others(place)) >= own(place, "embeddings")


def own(place: Path, kind: str) -> set[str]:
    with closing(Store.open(place)) as store:
        return {path.name for path in store.own_files() if path.name.startswith(kind)}


def test_what_was_replaced_by_a_new_generation_is_deleted(colours: Path, encoder: MeanColour) -> None:
    store = colours / ".congener"
    with Gallery(colours, encoder=encoder) as gallery:
        gallery.update(index=APPROXIMATE)
        first = own(store, "embeddings")
        gallery.update(refit=True)
    assert own(store, "embeddings").isdisjoint(first)
    assert {path.name for path in store.iterdir() if "-1-" in path.name} == set()
    with closing(Store.open(store)) as opened:
        assert {name for name in opened.owned.names() if "-1-" in name} == set()  # and forgotten


@pytest.mark.parametrize("kind", ["link", "folder", "link to nothing"])
@pytest.mark.parametrize("name", ["features-1.f16", "graph-1-blend", "graph-1-blend.part"])
def test_what_lies_in_the_way_is_said_and_not_written_over(
    tmp_path: Path, colours: Path, encoder: MeanColour, kind: str, name: str
) -> None:
    if name.startswith("graph") and APPROXIMATE == "auto":
        pytest.skip("needs usearch")
    place, mine = tmp_path / "place", tmp_path / "mine.bin"
    Store.create(place, encoder.identity.as_dict()).close()
    if kind != "link to nothing":
        mine.write_bytes(b"mine")
    if kind == "folder":
        (place / name).mkdir()
        shutil.copy(mine, place / name)
    else:
        (place / name).symlink_to(mine)
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        if name.startswith("graph"):  # a gallery chooses another number: so it lies there only now
            (place / name).rename(tmp_path / "aside")
            gallery.update()
            (tmp_path / "aside").rename(place / name)
        with pytest.raises(GalleryError, match=f"{name} is not this gallery's own.*move it away"):
            gallery.update(index=APPROXIMATE)
    assert os.path.lexists(place / name)
    assert mine.exists() == (kind != "link to nothing")
    if mine.exists():
        assert mine.read_bytes() == b"mine"
    if kind == "folder":
        assert (place / name / "mine.bin").read_bytes() == b"mine"


def test_a_file_that_its_owner_put_in_the_place_of_a_leftover_stays(
    tmp_path: Path, colours: Path, encoder: MeanColour
) -> None:
    """Names are forgotten once their file is deleted."""
    place = tmp_path / "place"
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update()
        gallery.update(refit=True)
        (place / "embeddings-1-blend.f16").write_bytes(b"mine")
        gallery.update(refit=True)
        gallery.update(refit=True)
    assert (place / "embeddings-1-blend.f16").read_bytes() == b"mine"


def test_an_older_catalogue_put_back_writes_over_nothing_that_it_does_not_know(
    tmp_path: Path, colours: Path, encoder: MeanColour
) -> None:
    place = tmp_path / "place"
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update()
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update(refit=True)
    later = (place / "embeddings-2-blend.f16").read_bytes() + b"and more"
    (place / "embeddings-2-blend.f16").write_bytes(later)
    for name, content in before.items():
        (place / name).write_bytes(content)
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update(refit=True)
        assert len(gallery.search(colours / "green.png", 9)) == 4
    assert (place / "embeddings-2-blend.f16").read_bytes() == later
    assert check(place, encoder=encoder).sound


# a gallery from a stranger


def test_a_prepared_catalogue_deletes_nothing_else_though_its_checksums_are_right(
    tmp_path: Path, colours: Path, encoder: MeanColour
) -> None:
    place = tmp_path / "place"
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update(index=APPROXIMATE)
    (place / "holiday.jpg").write_bytes(b"picture")
    (tmp_path / "graph-1-x").write_bytes(b"picture")
    with closing(sqlite3.connect(place / CATALOGUE, isolation_level=None)) as db:
        for name in ("holiday.jpg", "../graph-1-x", str(tmp_path / "graph-1-x")):
            db.execute("INSERT INTO files VALUES (?, ?)", (name, file_name_sum(name)))
        put_fact(db, "graph", {"file": "holiday.jpg", "rows": 5, "measured": [[32, 1.0]], "queries": 5, "seconds": 0})
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        gallery.update(refit=True)
    check(place, encoder=encoder, repair=True)
    with closing(Store.open(place)) as store:
        store.owned.delete(["holiday.jpg", "../graph-1-x", "features-1.f16.bak"])
        assert "holiday.jpg" not in {path.name for path in store.own_files()}
    assert (place / "holiday.jpg").read_bytes() == b"picture"
    assert (tmp_path / "graph-1-x").read_bytes() == b"picture"


# where a new gallery may be made


def test_a_new_gallery_among_other_things_is_refused_and_leaves_no_trace(run: Run, colours: Path) -> None:
    place = colours.parent / "things"
    place.mkdir()
    for name in ("features-2023.csv", "embeddings-backup.npy", "web.sqlite-old"):
        (place / name).write_bytes(b"mine")
    before = sorted(place.iterdir())
    for command in (["index", colours], ["search", colours / "green.png", "--in", colours], ["info", colours]):
        done = run(*command, "--gallery", place)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"--gallery {place / 'congener'}" in done.err
    with pytest.raises(GalleryError, match="holds other things"):
        Gallery(colours, store=place)
    with pytest.raises(GalleryError, match="holds other things"):
        Store.create(place, MeanColour.identity.as_dict())
    with pytest.raises(GalleryError, match="holds other things"):
        Gallery(colours, store=colours)
    assert sorted(place.iterdir()) == before
    assert run("index", colours, "--gallery", place / "congener").code == 0
    assert sorted(path for path in place.iterdir() if path.name != "congener") == before


@pytest.mark.parametrize("state", ["nothing", "empty folder", "lock", "catalogue", "page"])
def test_what_a_killed_first_run_leaves_is_no_hindrance(
    tmp_path: Path, colours: Path, encoder: MeanColour, state: str
) -> None:
    place = tmp_path / "place"
    if state != "nothing":
        place.mkdir()
    left = {"lock": ["lock"], "catalogue": [NEW, f"{NEW}-wal", f"{NEW}-shm", "lock"], "page": ["web.sqlite"]}
    for name in left.get(state, []):
        (place / name).write_bytes(b"torn" if name.startswith(NEW) else b"")
    with Gallery(colours, store=place, encoder=encoder) as gallery:
        assert gallery.update().images == 5
    report = check(place, encoder=encoder)
    assert (report.findings, report.unused) == ((), ())


def test_a_link_in_the_place_of_what_a_killed_run_leaves_is_somebody_s(tmp_path: Path, colours: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "place" / NEW).symlink_to(tmp_path / "mine")
    with pytest.raises(GalleryError, match="holds other things"):
        Gallery(colours, store=tmp_path / "place", encoder=MeanColour()).update()
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_file_of_the_page_s_name_is_somebody_s_unless_the_page_wrote_it(run: Run, colours: Path) -> None:
    place = colours.parent / "site"
    place.mkdir()
    (place / "web.sqlite").write_bytes(b"mine")
    done = run("index", colours, "--gallery", place)
    assert (done.code, "web.sqlite" in done.err) == (2, True)
    assert [path.name for path in place.iterdir()] == ["web.sqlite"]
    assert (place / "web.sqlite").read_bytes() == b"mine"


def test_the_files_of_a_gallery_of_format_3_are_known(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "data/format-3.zip") as stored:
        stored.extractall(tmp_path / "older")
    store = tmp_path / "older/.congener"
    made = {path.name for path in store.iterdir() if "-" in path.name}
    (store / "features-2023.csv").write_bytes(b"mine")
    (store / "embeddings-backup.npy").write_bytes(b"mine")
    with Gallery(tmp_path / "older", encoder=MeanColour()) as gallery:
        gallery.update(refit=True)
    left = {path.name for path in store.iterdir() if "-" in path.name}
    assert left >= {"features-2023.csv", "embeddings-backup.npy"}
    assert {name for name in made if name.startswith(("embeddings", "graph"))}.isdisjoint(left)


def test_the_size_of_a_gallery_is_that_of_its_own_files(tmp_path: Path, colours: Path, encoder: MeanColour) -> None:
    with Gallery(colours, store=tmp_path / "place", encoder=encoder) as gallery:
        gallery.update()
        before = gallery.info().bytes
        (tmp_path / "place/video.mkv").write_bytes(bytes(10**6))
        assert gallery.info().bytes == before


def test_other_files_in_the_cache_of_models_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    (tmp_path / "net-mine.onnx").write_bytes(b"mine")
    (tmp_path / "net-0123456789abcdef.onnx").write_bytes(b"damaged")
    (tmp_path / "net-aaaaaaaaaaaaaaaa.onnx").mkdir()
    assert cached_model("net", lambda: b"built") == b"built"
    assert (tmp_path / "net-mine.onnx").read_bytes() == b"mine"
    assert not (tmp_path / "net-0123456789abcdef.onnx").exists()
    assert (tmp_path / "net-aaaaaaaaaaaaaaaa.onnx").is_dir()
