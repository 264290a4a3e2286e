"""What is fitted on a gallery as a whole: its code, what was learned from its labels, its calibrations.

A deterministic function of the gallery's contents. It is made only at the end of an update that ran through; below
`SMALL` images whenever images changed, above when a tenth of them did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from congener.adapt import Adaptation, Ridge
from congener.calibration import Calibration
from congener.codes import FIT_SAMPLE, Array, Blend
from congener.disk import DTYPE
from congener.encoders import Encoder
from congener.indexes.quantise import SCALE, pack
from congener.store import PACKED, Embed, Store

SMALL = 10_000
LEARN_SAMPLE = 20_000
"""Images that labels are learned from, where there are more."""

_CALIBRATION_SAMPLE = 1500

BLEND, ADAPTED = "blend", "adapted"
"""The spaces of embeddings."""

LabelsOf = Callable[[Sequence[int]], list[str | None]]
"""Images' ids to their labels."""


@dataclass(frozen=True)
class Fit:
    """A gallery's code, and the map learned from its labels where there is one."""

    blend: Blend
    adaptation: Adaptation | None
    calibrations: dict[str, Calibration]
    """By space."""

    @property
    def spaces(self) -> dict[str, int]:
        """The spaces of embeddings and their dimensions."""
        adapted = {} if self.adaptation is None else {ADAPTED: self.adaptation.dimension}
        return {BLEND: self.blend.dimension} | adapted

    def embed(self, space: str, features: NDArray[np.floating], logits: Array | None) -> Array:
        """Return embeddings (n, m) in a space, of pooled features (n, d) and logits (n, c)."""
        if space == BLEND:
            return self.blend.embed(features, logits)
        assert self.adaptation is not None
        return self.adaptation.embed(features, logits)

    def parts(self, space: str, maps: NDArray[np.floating], logits: Array | None) -> tuple[Array, Array]:
        """Return what `embed` is the sum of, position by position: see `Blend.parts`, `Adaptation.parts`."""
        if space == BLEND:
            return self.blend.parts(maps, logits)
        assert self.adaptation is not None
        return self.adaptation.parts(maps, logits)

    @property
    def columns(self) -> dict[str, int]:
        """What `embed_all` makes, and its columns."""
        return self.spaces | {space + PACKED: size + SCALE.itemsize for space, size in self.spaces.items()}

    def embed_all(self, encoder: Encoder) -> Embed:
        """Return what turns pooled features (n, d) into embeddings in every space, and the bytes that are searched."""

        def embed(features: NDArray[np.float16]) -> dict[str, NDArray[Any]]:
            logits = encoder.logits(features)
            # packed as they are kept
            made = {space: self.embed(space, features, logits).astype(DTYPE) for space in self.spaces}
            return made | {space + PACKED: pack(embeddings) for space, embeddings in made.items()}

        return embed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, to be kept."""
        arrays = self.blend.arrays()
        if self.adaptation is not None:
            arrays |= self.adaptation.arrays()
        for space, calibration in self.calibrations.items():
            arrays |= calibration.arrays(f"calibration.{space}")
        return arrays

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return what `arrays` came from."""
        adaptation = Adaptation.restored(arrays)
        spaces = [BLEND] if adaptation is None else [BLEND, ADAPTED]
        calibrations = {space: Calibration.restored(f"calibration.{space}", arrays) for space in spaces}
        return cls(Blend.restored(arrays), adaptation, calibrations)


@dataclass(frozen=True)
class Labelled:
    """Images with a label: pooled features (n, d), logits (n, c), labels (n)."""

    features: NDArray[np.float16]
    logits: Array | None
    labels: list[str]


def fit(store: Store, encoder: Encoder, labels_of: LabelsOf, ridge: Ridge | None = None, strength: float = 0) -> Fit:
    """Fit a gallery's code on its contents, with the map of a regression on its labels where one is given."""
    ids, features = store.sample(FIT_SAMPLE)
    logits = encoder.logits(features)
    blend = Blend.fit(features, logits)
    some = slice(0, _CALIBRATION_SAMPLE)
    embeddings = blend.embed(features[some], None if logits is None else logits[some])
    labels = labels_of(ids[some])
    calibrations = {BLEND: Calibration.fit(embeddings @ embeddings.T, labels)}
    if ridge is None:
        return Fit(blend, None, calibrations)
    calibrations[ADAPTED] = _calibrate_adapted(ridge, strength, some)
    return Fit(blend, ridge.adaptation(strength), calibrations)


def _calibrate_adapted(ridge: Ridge, strength: float, rows: slice) -> Calibration:
    """Calibrate on scores of which each query was left out of its own fit: those fitted are too sure."""
    scores = ridge.scores_without(strength, rows)[:, rows]
    return Calibration.fit(scores, [ridge.labels[target] for target in ridge.targets[rows]])


def is_due(store: Store, images: int) -> bool:
    """Tell whether so much has changed since the last fit that another is due."""
    changed = store.changed()
    if store.generation() is None:
        return images > 0
    return changed > 0 if images < SMALL else changed >= images / 10


def labelled(store: Store, encoder: Encoder, labels_of: LabelsOf) -> Labelled:
    """Return the gallery's labelled images, a sample of them where they are very many."""
    ids, features = store.sample(LEARN_SAMPLE)
    labels = labels_of(ids)
    known = [position for position, label in enumerate(labels) if label is not None]
    names = [label for label in labels if label is not None]
    return Labelled(features[known], encoder.logits(features[known]), names)
