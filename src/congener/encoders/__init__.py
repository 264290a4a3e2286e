"""The table of encoders: a name gives a network with its own preprocessing."""

from collections.abc import Callable
from importlib import import_module

from congener.encoders.base import Encoder, Features, Identity
from congener.errors import EncoderError, unknown_name

__all__ = ["DEFAULT", "ENCODERS", "Encoder", "Features", "Identity", "load_encoder"]

ENCODERS = {"lite0": "congener.encoders.lite0:Lite0"}
"""Name -> module:class, imported when it is asked for."""

DEFAULT = "lite0"


def load_encoder(name: str = DEFAULT, precision: str | None = None, preparation: str | None = None) -> Encoder:
    """Return the encoder of this name, ready to encode; precision: of its calculation, by default its first.

    preparation: of pictures, as an identity's `preprocessing` says it; by default, and where it is unknown, its first.
    Raises EncoderError for a name that is not in the table, a precision that it hasn't, or missing weights.
    """
    if name not in ENCODERS:
        raise EncoderError(unknown_name("encoder", name, sorted(ENCODERS)))
    module, _, member = ENCODERS[name].partition(":")
    make: Callable[..., Encoder] = getattr(import_module(module), member)
    precisions: tuple[str, ...] = make.precisions  # type: ignore[attr-defined]
    if precision and precision not in precisions:
        raise EncoderError(unknown_name(f"precision of {name}", precision, precisions))
    chosen = {"precision": precision} if precision and len(precisions) > 1 else {}
    if preparation and preparation in make.preparations:  # type: ignore[attr-defined]
        chosen["preparation"] = preparation
    return make(**chosen)
