"""Tones: how the colours of one picture come out of another's that shows the same, whatever an edit made of them."""

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]
"""(…, 3): red, green and blue, 0 to 255."""

Numbers = NDArray[np.float32]

LUMA: Numbers = np.array([0.299, 0.587, 0.114], np.float32)

_SAMPLE = 6000  # pixels from which tones are learned
_ROUNDS = 4  # in which what fits badly is made to count less
_TINT = 8.0  # of 255: how far from one hue a tinted picture's colours may lie
_ENDS = 3.0, 252.0  # what lies beyond may have been cut off
_TONE = np.diag([1e-4, 3e-4, 1e-4, 3e-4]).astype(np.float32)  # how firmly we hold to what we expect
_MIX = np.diag([1e-4, 1e-3, 1e-3, 1e-3]).astype(np.float32)
_GREY = np.diag([1e-4, 1e-3, 3e-4, 1e-3, 1e-3, 1e-3, 1e-3]).astype(np.float32)


def is_tinted(colours: Colours) -> bool:
    """Tell whether colours (…, 3) are those of a grey picture, or of one in a single hue, such as sepia."""
    colours = colours.reshape(-1, 3)
    luma = colours @ LUMA
    powers = _powers(luma)[:, :3]
    beyond = colours - luma[:, None]
    rest = beyond - powers @ np.linalg.lstsq(powers, beyond, rcond=None)[0]
    return bool(np.quantile(np.abs(rest).max(axis=1), 0.98) < _TINT)


def hues(colours: Colours) -> int:
    """Return 0 for colours (…, 3) of several hues, 1 for one or none on white or black, 2 for one all over: a tint."""
    if not is_tinted(colours):
        return 0
    colours = colours.reshape(-1, 3)
    luma = colours @ LUMA
    middle = (luma > 40) & (luma < 240)
    beyond = np.abs(colours - luma[:, None]).max(axis=1)
    return 2 if middle.any() and np.quantile(beyond[middle], 0.05) > _TINT else 1


def as_in(wanted: Colours, given: Colours, inside: NDArray[np.bool_]) -> Colours:
    """Return what a picture (height, width, 3) would be with the tones of another that shows the same: an estimate.

    wanted: that other; both are compared where `inside` (height, width). A smooth curve of the luma, then a mixture of
    the channels; both as near to nothing at all as the pictures allow, and learned from most pixels: a place that
    differs has no say.
    """
    step = max(1, int((np.count_nonzero(inside) / _SAMPLE) ** 0.5))
    some = inside[::step, ::step]
    to, of = wanted[::step, ::step][some], given[::step, ::step][some]
    apart = np.abs((to - (to @ LUMA)[:, None]) - (of - (of @ LUMA)[:, None])).mean()
    tinted = is_tinted(to) and bool(apart > _TINT / 4)
    seen, meant = (of @ LUMA, to @ LUMA) if tinted else (of.reshape(-1), to.reshape(-1))
    curve = _learned(_powers(seen), meant, np.array([0, 255, 0, 0], np.float32), _TONE, _rarity(seen))
    terms = _tinted_terms if tinted else _mixed_terms
    known, all_of_it = terms(of, curve), terms(given, curve)
    weights = []
    for channel in range(3):
        if tinted:
            expected, firmly = np.concatenate([curve, np.zeros(3, np.float32)]), _GREY
        else:
            expected, firmly = np.zeros(4, np.float32), _MIX
            expected[1 + channel] = 255
        weights.append(_learned(known, to[:, channel], expected, firmly))
    return np.clip(all_of_it @ np.stack(weights, axis=-1), 0, 255)


def _powers(luma: Numbers) -> Numbers:
    """Return the terms of a smooth curve: a level, a gain, and two that make a gamma curve of it."""
    return _TERMS[_steps(luma)]


def _steps(luma: Numbers) -> NDArray[np.int16]:
    steps: NDArray[np.int16] = np.clip(luma * np.float32(_FINE) + np.float32(0.5), 0, 255 * _FINE).astype(np.int16)
    return steps


def _terms() -> Numbers:
    share = np.arange(255 * _FINE + 1, dtype=np.float32) / np.float32(255 * _FINE)
    log = np.log(np.maximum(share, np.float32(1e-3)))
    return np.stack([np.ones_like(share), share, share * log, share * log**2], axis=-1)


def _tinted_terms(colours: Colours, curve: Numbers) -> Numbers:
    return np.concatenate([_powers(colours @ LUMA), colours / 255], axis=-1)


def _mixed_terms(colours: Colours, curve: Numbers) -> Numbers:
    toned = (_TERMS @ curve / 255)[_steps(colours)]
    return np.concatenate([np.ones_like(toned[..., :1]), toned], axis=-1)


def _rarity(levels: Numbers) -> Numbers:
    """Return how much each level counts, so that paper doesn't outvote all that is printed on it: 1 on average."""
    bins = np.clip(levels, 0, 255).astype(np.int64) >> 3
    rarity = 1 / np.sqrt(np.bincount(bins, minlength=32)[bins])
    result: Numbers = (rarity / rarity.mean()).astype(np.float32)
    return result


def _learned(
    terms: Numbers, wanted: Numbers, expected: Numbers, firmly: Numbers, rarity: Numbers | float = 1.0
) -> Numbers:
    """Return weights of terms (n, m) by ridge regression towards those expected, robust against outliers."""
    counts = ((wanted > _ENDS[0]) & (wanted < _ENDS[1])).astype(np.float32)
    if counts.sum() < len(counts) / 10:
        counts[:] = 1
    counts *= rarity
    weights, rest = expected, wanted - terms @ expected
    for _ in range(_ROUNDS):
        error = wanted - terms @ weights
        spread = max(2.0, 1.5 * float(np.median(np.abs(error))))
        weighted = terms * (counts / (1 + (error / spread) ** 2) ** 2)[:, None]
        weights = expected + np.linalg.solve(weighted.T @ terms + firmly * len(terms), weighted.T @ rest)
    return weights.astype(np.float32)


_FINE = 64  # steps of a level, for which the terms of a curve are kept
_TERMS = _terms()
