import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from congener import Gallery
from congener.adapt import Ridge
from congener.calibration import Calibration
from congener.fit import fit, is_due

from .conftest import MeanColour, plain, write


def many(folder: Path, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        write(folder / f"{number % 3}/{number}.png", (number * 7 % 256, number * 13 % 256, number * 29 % 256))


def test_the_same_contents_give_the_same_fit_whatever_their_history(tmp_path: Path, encoder: MeanColour) -> None:
    many(tmp_path / "a", 12)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    once = Gallery(tmp_path / "a", encoder=encoder)
    once.update()
    later = Gallery(tmp_path / "b", encoder=encoder)
    write(tmp_path / "b/other.png", (9, 9, 9))
    later.update()
    (tmp_path / "b/other.png").unlink()
    shutil.move(tmp_path / "b/0", tmp_path / "b/moved")
    later.update()
    first, second = once.fit, later.fit
    assert first is not None
    assert second is not None
    arrays = first.blend.arrays(), second.blend.arrays()
    for name, array in arrays[0].items():
        assert np.array_equal(array, arrays[1][name]), name
    once.close()
    later.close()


class Sample:
    """What a fit asks of a store."""

    def __init__(self, features: NDArray[np.float16]) -> None:
        self.features = features

    def sample(self, most: int) -> tuple[list[int], NDArray[np.float16]]:
        return list(range(len(self.features)))[:most], self.features[:most]


def test_a_map_of_labels_that_say_nothing_makes_nothing_similar(encoder: MeanColour) -> None:
    """Fitted scores know the labels: with 100 features each, 60 images tell any. None can be foretold."""
    features = np.random.default_rng(0).standard_normal((60, 100)).astype(np.float16)
    labels = [f"kind {number % 4}" for number in range(60)]
    ridge = Ridge(features, None, labels, 0.0)
    seen = ridge.adaptation(0.05).embed(features, None)
    assert Calibration.fit(seen @ seen.T, labels)(1.0) > 0.9
    fitted = fit(Sample(features), encoder, lambda ids: [labels[id] for id in ids], ridge, 0.05)  # type: ignore[arg-type]
    assert fitted.calibrations["adapted"].meaning == "label"
    assert fitted.calibrations["adapted"](1.0) < 0.6


def test_small_galleries_are_fitted_anew_whenever_images_change(tmp_path: Path, encoder: MeanColour) -> None:
    many(tmp_path, 5)
    with Gallery(tmp_path, encoder=encoder) as gallery:
        gallery.update()
        first = gallery.fit
        gallery.update()
        assert gallery.fit is first
        many(tmp_path, 1, start=5)
        gallery.update()
        assert gallery.fit is not first
        second = gallery.fit
        gallery.update(refit=True)
        assert gallery.fit is not second


def test_large_galleries_are_fitted_anew_when_a_tenth_has_changed(
    tmp_path: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.fit.SMALL", 10)
    many(tmp_path, 20)
    with Gallery(tmp_path, encoder=encoder) as gallery:
        gallery.update()
        first = gallery.fit
        many(tmp_path, 1, start=20)
        gallery.update()
        assert gallery.fit is first
        assert gallery.search(plain((140, 4, 68)), 1)[0].path == "2/20.png"  # all the same, the new one is found
        many(tmp_path, 2, start=21)
        gallery.update()
        assert gallery.fit is not first
        assert not is_due(gallery._open_store(), 23)


def test_an_interrupted_update_does_not_fit_and_can_be_searched(
    tmp_path: Path, encoder: MeanColour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("congener.update.COMMIT_SECONDS", 0)
    many(tmp_path, 12)

    def interrupt(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with Gallery(tmp_path, encoder=encoder) as gallery:
        with pytest.raises(KeyboardInterrupt):
            gallery.update(progress=interrupt)
        assert gallery.fit is None
        assert len(gallery.search(plain("red"), 20)) == 8
        assert gallery.info().code == "pooled"
        gallery.update()
        assert gallery.fit is not None
        assert len(gallery.search(plain("red"), 20)) == 12


def test_a_gallery_that_was_emptied_and_filled_again_works(tmp_path: Path, encoder: MeanColour) -> None:
    many(tmp_path, 4)
    with Gallery(tmp_path, encoder=encoder) as gallery:
        gallery.update()
        for path in tmp_path.glob("*/*.png"):
            path.unlink()
        gallery.update(prune=True)
        assert len(gallery.search(plain("red"))) == 0
        many(tmp_path, 6)
        gallery.update()
        assert len(gallery.search(plain("red"))) == 6


def test_what_was_learned_is_learned_anew_with_the_gallery(cabinet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cabinet"
    shutil.copytree(cabinet, folder)
    with Gallery(folder) as gallery:
        gallery.update()
        report = gallery.adapt(force=True)
        assert report.kept
        assert (report.images, report.labels) == (64, 16)
        assert gallery.adapted
        query = folder / "oak-leaf/oak-leaf-01.jpg"
        learned, plainly = gallery.search(query, 3), gallery.search(query, 3, adapted=False)
        assert learned[0].score != plainly[0].score
        next(folder.glob("feather/*.jpg")).unlink()
        gallery.update()
        assert gallery.adapted
        assert gallery.info().adapted is not None
        assert gallery.forget()
        assert not gallery.forget()
        assert gallery.search(query, 3)[0].score == pytest.approx(
            gallery.search(query, 3, adapted=False)[0].score, abs=1e-6
        )


def test_the_parts_of_a_space_sum_to_its_embeddings(tmp_path: Path, encoder: MeanColour) -> None:
    many(tmp_path, 12)
    with Gallery(tmp_path, encoder=encoder) as gallery:
        gallery.update()
        gallery.adapt(force=True)
        fitted = gallery.fit
    assert fitted is not None
    maps = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    for space in fitted.spaces:
        parts, classes = fitted.parts(space, maps, None)
        embeddings = fitted.embed(space, maps.mean(axis=(2, 3)), None)
        assert parts.sum(axis=(1, 2)) + classes == pytest.approx(embeddings, abs=1e-5)
