"""Explain: where in two images their likeness lies.

An embedding is the sum of a part of each position of the network's last feature map, and one of the class
probabilities (`Blend.parts`). So is its inner product with another image's embedding, the score: no estimate, but the
score's own terms. docs/explain.md has the formulas.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array, positions, probabilities
from congener.encoders import Encoder
from congener.errors import EncoderError, UnknownImageError
from congener.fit import BLEND
from congener.gallery import Gallery
from congener.original import Original
from congener.query import Box, Query, crop, edges, open_query
from congener.searcher import Lens

PLAIN = Lens(None, BLEND, ("", 0))
"""Plain pooled features, as of a gallery on which nothing is fitted yet."""

_LINEAR = 1e-2  # how far a mean of logits may be from the logits of the mean

Area = tuple[float, float, float, float]
"""Left, top, width and height in fractions of the picture as it is shown, EXIF orientation applied."""


@dataclass(frozen=True, eq=False)
class View:
    """What the network sees of a picture, and where in the whole that is."""

    pixels: NDArray[np.uint8]
    """(side, side, 3), from `Encoder.preprocess`."""
    area: Area


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two images: what its positions and its classes add to the score."""

    map: Array
    """(h, w); their sum is `pooled`. A number below 0 makes the two less alike."""
    classes: float
    """What the class probabilities add; they are of the whole image, so it has no place."""
    kinds: Array | None
    """(h, w): `classes`, spread by where the network sees the kinds that both may show; None where it adds nothing."""
    area: Area
    """The part of the picture that the network saw, and the map covers."""

    @property
    def pooled(self) -> float:
        """What the pooled feature adds."""
        return float(self.map.sum(dtype=np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {
            "pooled": self.pooled,
            "classes": self.classes,
            "map": self.map.tolist(),
            "kinds": None if self.kinds is None else self.kinds.tolist(),
            "area": list(self.area),
        }


@dataclass(frozen=True, eq=False)
class Explanation:
    """A score and its split, on each side: pooled + classes = score."""

    score: float
    similarity: float
    """What people read, 0 to 1."""
    query: Side
    hit: Side

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; pooled and classes at the top are the query's."""
        return {
            "score": self.score,
            "similarity": self.similarity,
            "pooled": self.query.pooled,
            "classes": self.query.classes,
            "query": self.query.as_dict(),
            "hit": self.hit.as_dict(),
        }


def explain(
    gallery: Gallery, a: Query, b: Query, *, box: Box | None = None, adapted: bool | None = None
) -> Explanation:
    """Return where the likeness of two images lies, as the gallery sees them.

    a, b: paths, pictures, arrays or ids of the gallery's images. box: the part of a that counts. adapted: as in
    `SearchOptions`. Both are looked at anew, in one pass of the network; the gallery keeps features and embeddings as
    float16, so a search's score of the pair differs by some .0002. Raises EncoderError where the network shows no
    feature map.
    """
    files = [_original(gallery, query) if isinstance(query, int) else query for query in (a, b)]
    return explain_with(gallery.encoder, gallery.lens(adapted), files[0], files[1], box=box)


def _original(gallery: Gallery, id: int) -> Original:
    row = gallery.find(id)
    if row is None:
        raise UnknownImageError(id)
    return gallery.original(row)


def explain_with(
    encoder: Encoder, lens: Lens, a: Query | Original, b: Query | Original, *, box: Box | None = None
) -> Explanation:
    """Return the same without a gallery: through a lens such as `PLAIN`. a, b: neither ids nor prepared."""
    _check(encoder)  # before the work of opening
    return explain_views(encoder, lens, view(encoder, a, box), view(encoder, b))


def _check(encoder: Encoder) -> None:
    if type(encoder).feature_map is Encoder.feature_map:
        raise EncoderError(
            f"{encoder.identity.name} shows no feature map, so where a likeness lies can't be told: "
            "use a gallery of another encoder"
        )


def explain_views(encoder: Encoder, lens: Lens, a: View, b: View) -> Explanation:
    """Return the same for pictures that were opened before."""
    _check(encoder)
    maps = encoder.feature_map(np.stack([a.pixels, b.pixels]))
    parts, classes = _parts(encoder, lens, maps)
    whole = parts.sum(axis=(1, 2)) + classes
    score = float(whole[0] @ whole[1])
    evidence = class_evidence(encoder, maps)
    sides = []
    for one, other, area in ((0, 1, a.area), (1, 0, b.area)):
        of_classes = float(classes[one] @ whole[other])
        kinds = None if evidence is None or of_classes <= 0 else np.float32(of_classes) * evidence[one]
        sides.append(Side(parts[one] @ whole[other], of_classes, kinds, area))
    return Explanation(score, float(lens.similarity(np.array(score))), *sides)


def _parts(encoder: Encoder, lens: Lens, maps: Array) -> tuple[Array, Array]:
    """Return what the embeddings are the sum of: (n, h, w, m) and (n, m)."""
    if lens.fit is None:
        parts = positions(maps)
        return parts, np.zeros((len(maps), parts.shape[-1]), np.float32)
    return lens.fit.parts(lens.space, maps, encoder.logits(maps.mean(axis=(2, 3))))


def class_evidence(encoder: Encoder, maps: Array) -> Array | None:
    """Return where two images, of maps (2, d, h, w), show the kinds that both may be: (2, h, w), each sums to 1.

    Source: B. Zhou et al., "Learning deep features for discriminative localization" (CVPR 2016), eq. 2: logits that are
    linear in the pooled feature are the mean of the logits of its positions. The kinds are weighed by the product of
    both images' probabilities; counted is by how much a logit exceeds the mean of all. None where there are no classes,
    or the logits aren't linear.
    """
    overall = encoder.logits(maps.mean(axis=(2, 3)))
    local = encoder.logits(np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1]))
    if overall is None or local is None:
        return None
    local = local.reshape(2, -1, overall.shape[1])
    if not np.allclose(local.mean(axis=1), overall, atol=_LINEAR):
        return None
    shared = np.prod(probabilities(overall).astype(np.float64), axis=0)
    evidence = np.maximum((local - local.mean(axis=2, keepdims=True)) @ shared, 0)
    total = evidence.sum(axis=1, keepdims=True)
    if not total.all():
        return None
    height, width = maps.shape[2:]
    return np.asarray(evidence / total, np.float32).reshape(2, height, width)


def view(encoder: Encoder, query: Query | Original, box: Box | None = None) -> View:
    """Return what the network sees of a query, other than an id, or of the part of it in a box."""
    picture = open_query(query, None if box else encoder.resized_side)
    part = picture if box is None else crop(picture, box)
    return View(encoder.preprocess(part), area_of(encoder, picture.size, box))


def area_of(encoder: Encoder, size: tuple[int, int], box: Box | None = None) -> Area:
    """Return the part of a picture (width, height) that the network sees, or of a box in it."""
    if box is None:
        return seen(encoder, size)
    left, top, right, bottom = edges(size, box)
    x, y, width, height = seen(encoder, (right - left, bottom - top))
    return (
        (left + x * (right - left)) / size[0],
        (top + y * (bottom - top)) / size[1],
        width * (right - left) / size[0],
        height * (bottom - top) / size[1],
    )


def seen(encoder: Encoder, size: tuple[int, int]) -> Area:
    """Return the part of a picture (width, height) that `Encoder.preprocess` cuts out: a square from its middle."""
    side = min(size) * encoder.input_side / encoder.resized_side
    width, height = side / size[0], side / size[1]
    return (1 - width) / 2, (1 - height) / 2, width, height
