"""Scope: what one question may be answered with: the images of one gallery or several, all or some of them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from congener.codes import Array, unit
from congener.indexes import Index, Neighbours
from congener.indexes.score import Whole, crossed
from congener.rerank import Space
from congener.store import Embedded

Ids = NDArray[np.int64]
_NONE: Ids = np.empty(0, np.int64)

_GALLERY_BITS = 40  # of an id that is unique over several galleries, the part that is the image's own


def unique_id(gallery: int, id: int) -> int:
    """Return an id that is unique over several galleries."""
    return (gallery << _GALLERY_BITS) + id


def own_id(unique: int) -> tuple[int, int]:
    """Return the number of the gallery and the image's own id there."""
    return unique >> _GALLERY_BITS, unique & ((1 << _GALLERY_BITS) - 1)


class Part:
    """The embeddings of one gallery and their index, under ids unique over all."""

    def __init__(self, number: int, embedded: Embedded, index: Index, hidden: Ids = _NONE) -> None:
        """number: of the gallery; index: of the embeddings, by their keys; hidden: ids that are never found."""
        self.first = unique_id(number, 0)
        self._embedded, self._index = embedded, index
        keys = embedded.keys[embedded.rows]
        copies = np.flatnonzero(keys != embedded.ids)  # images that share the row of an older one
        order = np.argsort(keys[copies], kind="stable")
        self._copies, self._copied = embedded.ids[copies][order], keys[copies][order]
        self._hidden, self._seen = hidden, np.setdiff1d(embedded.ids, hidden) if len(hidden) else None

    def search(self, queries: Array, k: int, among: Ids | None) -> Neighbours:
        """Return the k nearest images of each query; among: ids to choose from, those that are here."""
        if self._seen is not None:
            among = self._seen if among is None else np.setdiff1d(among, self._hidden)
        if among is not None:
            among = among[self._held(among)]  # another thread or process may have added some since
        found = self._index.search(queries, k) if among is None else self._among(queries, k, among)
        ids, scores = found.ids, found.scores
        if len(self._copies):
            scores, ids = self._with_copies(found, k, among)
        return Neighbours(scores, ids + self.first)

    def _among(self, queries: Array, k: int, among: Ids) -> Neighbours:
        """Return the nearest keys of some images: k, and with copies all that tie with the k-th.

        The index puts equal scores in order of the keys, but an image whose key isn't among the ids has another place.
        """
        keys = self._embedded.keys[self._rows_of(among)]
        found = self._index.search(queries, k + 1 if len(self._copies) else k, keys)
        while found.ids.shape[1] > k and (found.scores[:, -1] == found.scores[:, k - 1]).any():
            width = found.ids.shape[1]
            found = self._index.search(queries, 2 * width, keys)
            if found.ids.shape[1] < 2 * width:
                break
        return found

    def _with_copies(self, found: Neighbours, k: int, among: Ids | None) -> Neighbours:
        """Put images of equal content beside the one that was found for all of them."""
        rows = []
        for scores, keys in zip(found.scores, found.ids, strict=True):
            starts, ends = (np.searchsorted(self._copied, keys, side) for side in ("left", "right"))
            copies = [self._copies[start:end] for start, end in zip(starts, ends, strict=True)]
            all_ids = np.concatenate([keys, *copies])
            all_scores = np.concatenate([scores, np.repeat(scores, ends - starts)])
            if among is not None:
                allowed = np.isin(all_ids, among)
                all_ids, all_scores = all_ids[allowed], all_scores[allowed]
            first = np.lexsort((all_ids, -all_scores))[:k]
            rows.append((all_scores[first], all_ids[first]))
        width = min((len(ids) for _, ids in rows), default=0)
        shape = len(rows), width
        scores = np.array([scores[:width] for scores, _ in rows], np.float32).reshape(shape)
        return Neighbours(scores, np.array([ids[:width] for _, ids in rows], np.int64).reshape(shape))

    def __len__(self) -> int:
        return len(self._embedded.ids)

    def holds(self, id: int) -> bool:
        """Tell whether there is an image of this id."""
        return bool(self._held(np.array([id]))[0])

    def _held(self, ids: Ids) -> NDArray[np.bool_]:
        """Tell of which of the ids (n,) there is an image."""
        all_ids = self._embedded.ids
        if not len(all_ids):
            return np.zeros(len(ids), np.bool_)
        places = np.minimum(np.searchsorted(all_ids, ids), len(all_ids) - 1)
        return np.asarray(all_ids[places] == ids, np.bool_)

    def fetch(self, ids: Ids) -> Array:
        """Return the embeddings (n, d) of ids (n)."""
        return unit(self._embedded.matrix[self._rows_of(ids)])

    def scores(self, query: Array, ids: Ids) -> Array:
        """Return the scores (n,) of a query (1, d) with images, as a search gives them."""
        scores: Array = crossed(Whole.of(query), Whole.of(self._embedded.matrix[self._rows_of(ids)]))[0]
        return scores

    def _rows_of(self, ids: Ids) -> NDArray[np.int64]:
        return self._embedded.rows[np.searchsorted(self._embedded.ids, ids)]


class Scope:
    """All images of some galleries."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._firsts = np.array([part.first for part in parts])

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def space(self, hidden: Ids, among: Ids | None = None) -> Space:
        """Return what may be asked of it as if it held none of the hidden images; among: and only these."""

        def search(queries: Array, k: int) -> Neighbours:
            parts = [
                part.search(queries, k + len(hidden), None if among is None else self._own(number, among))
                for number, part in enumerate(self._parts)
            ]
            found = _best(parts, k + len(hidden))
            if not len(hidden):
                return found
            seen = ~np.isin(found.ids, hidden)
            width = min(k, int(seen.sum(axis=1).min(initial=k)))
            first = np.argsort(~seen, axis=1, kind="stable")[:, :width]
            scores = np.take_along_axis(found.scores, first, axis=1)
            return Neighbours(scores, np.take_along_axis(found.ids, first, axis=1))

        return Space(search, self.fetch)

    def _own(self, number: int, ids: Ids) -> Ids:
        """Return those of the ids that are of a part, as its own."""
        own: Ids = ids[self._part_of(ids) == number] - self._parts[number].first
        return own

    def _part_of(self, ids: Ids) -> NDArray[np.int64]:
        return np.searchsorted(self._firsts, ids, "right") - 1

    def holds(self, unique: int) -> bool:
        """Tell whether there is an image of this id, which another process may have added a moment ago."""
        number, id = own_id(unique)
        return self._parts[number].holds(id)

    def fetch(self, ids: Ids) -> Array:
        """Return the embeddings (n, d) of ids (n)."""
        return self._of_parts(ids, Part.fetch)

    def scores(self, query: Array, ids: Ids) -> Array:
        """Return the scores (n,) of a query (1, d) with images by id, as a search gives them."""
        return self._of_parts(ids, lambda part, own: part.scores(query, own))

    def _of_parts(self, ids: Ids, ask: Callable[[Part, Ids], Array]) -> Array:
        """Return what the parts say of their own among the ids (n), in the order of the ids."""
        if len(self._parts) == 1:
            return ask(self._parts[0], ids)
        of = self._part_of(ids)
        answers = [ask(part, ids[of == number] - part.first) for number, part in enumerate(self._parts)]
        order = np.argsort(of, kind="stable")
        result = np.empty((len(ids), *answers[0].shape[1:]), np.float32)
        result[order] = np.concatenate(answers)
        return result


def _best(found: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k best of several answers to the same queries."""
    if len(found) == 1:
        return found[0]
    scores = np.concatenate([each.scores for each in found], axis=1)
    ids = np.concatenate([each.ids for each in found], axis=1)
    first = np.lexsort((ids, -scores))[:, :k]
    return Neighbours(np.take_along_axis(scores, first, axis=1), np.take_along_axis(ids, first, axis=1))
