"""The cabinet paints the same distinct pictures every time."""

import csv
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from congener.cabinet import KINDS, paint, paint_cabinet
from congener.errors import CongenerError

NAMES = [kind.name for kind in KINDS]


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures at a common size, from 0 to 255."""
    small = [np.asarray(picture.resize((64, 64)), float) for picture in (first, second)]
    return float(np.abs(small[0] - small[1]).mean())


def test_there_are_sixteen_kinds_with_unique_names_and_titles() -> None:
    assert len(KINDS) == 16
    assert len(set(NAMES)) == 16
    assert len({kind.title for kind in KINDS}) == 16
    assert all(name == name.lower() and " " not in name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_paints_repeatable_and_varied_pictures(name: str) -> None:
    first, again, other = paint(name, 0), paint(name, 0), paint(name, 101)
    assert first.tobytes() == again.tobytes()
    assert difference(first, other) > 8
    for picture in (first, other):
        assert picture.mode == "RGB"
        assert all(300 <= side <= 400 for side in picture.size)
        grey = np.asarray(picture.convert("L"), float)
        assert grey.std() > 12
        assert 40 < grey.mean() < 220


def test_specimens_of_one_kind_lie_on_different_grounds() -> None:
    corners = [np.asarray(paint("starfish", n), float)[:20, :20].mean((0, 1)) for n in range(1, 9)]
    assert np.std(corners, axis=0).max() > 15


def test_an_unknown_kind_is_refused_with_the_list_of_kinds() -> None:
    with pytest.raises(CongenerError) as caught:
        paint("unicorn", 1)
    message = str(caught.value)
    assert "unicorn" in message
    assert "\n" not in message
    assert all(name in message for name in NAMES)


def test_the_cabinet_is_written_once_and_kept(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    paint_cabinet(tmp_path, specimens=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 16) for done in range(1, 17)]
    pictures = [f"{name}/{name}-01.jpg" for name in NAMES]
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")]
    assert sorted(written) == sorted(["label_names.csv", *pictures])
    with Image.open(tmp_path / pictures[0]) as picture:
        assert picture.format == "JPEG"
        assert difference(picture, paint(NAMES[0], 1)) < 3

    (tmp_path / pictures[2]).write_bytes(b"changed by the user")
    (tmp_path / pictures[3]).unlink()
    paint_cabinet(tmp_path, specimens=1)
    assert (tmp_path / pictures[2]).read_bytes() == b"changed by the user"
    assert (tmp_path / pictures[3]).exists()


def test_label_names_lists_every_kind(tmp_path: Path) -> None:
    paint_cabinet(tmp_path, specimens=0)
    with open(tmp_path / "label_names.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["label", "name"], *([kind.name, kind.title] for kind in KINDS)]


def test_an_interrupted_run_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Image.Image, target: IO[bytes], *args: object, **options: object) -> None:
        target.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paint_cabinet(tmp_path, specimens=1)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["label_names.csv"]
    monkeypatch.undo()
    paint_cabinet(tmp_path, specimens=1)  # which is known as the demo's own
    assert len(list(tmp_path.rglob("*.jpg"))) == 16


def test_it_isn_t_painted_among_other_things(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "label_names.csv").write_text("label,name\nrose,Rose\n")
    with pytest.raises(CongenerError, match="isn't the demo's: name another folder"):
        paint_cabinet(tmp_path, specimens=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["label_names.csv", "mine.txt"]
    assert (tmp_path / "label_names.csv").read_text() == "label,name\nrose,Rose\n"
    with pytest.raises(CongenerError, match=r"can't paint into .*: Not a directory"):
        paint_cabinet(tmp_path / "mine.txt" / "cabinet", specimens=1)
