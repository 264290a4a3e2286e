"""What there is to know of a gallery, for people and JSON."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class GalleryInfo:
    """Facts about a gallery, for people and JSON."""

    folder: str
    store: str
    images: int
    labels: int
    """Different labels of its images."""
    unlabelled: int
    """Images without a label."""
    encoder: dict[str, Any]
    format: int
    bytes: int
    """On disk."""
    exclude: list[str]
    """Globs that are left out on demand, and those that are by default unless that is off."""
    default_exclude: list[str]
    code: str
    """How features become embeddings."""
    dimension: int
    """Of an embedding."""
    class_weight: float | None
    """Of the class probabilities in the code, as fitted on this gallery; None while nothing is fitted."""
    fitted_on: int
    """Images in the gallery when it was fitted last."""
    adapted: dict[str, Any] | None
    """What was learned from the labels: images, strength, and whether the labels have changed since (stale)."""
    index: dict[str, Any]
    """How it is searched: the fields of `congener.graph.IndexFacts`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)
