"""Encoder: pixels -> features. Whoever adds a network writes `encode`, and `preprocessing` if it differs."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from congener.errors import EncoderError
from congener.preprocessing import Preprocess, Preprocessing


@dataclass(frozen=True)
class Identity:
    """All that decides what an encoder's features are; two encoders may share a gallery if equal."""

    name: str
    weights_sha256: str
    preprocessing: str
    precision: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.name} ({self.precision}, weights {self.weights_sha256[:12]}; {self.preprocessing})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Features:
    """What the network says of n images; what it says of their classes follows from that: see `Encoder.logits`.

    pooled: (n, d) float32, the last feature map averaged over positions, as the network gave it.
    """

    pooled: NDArray[np.float32]


class Encoder(ABC):
    """A network with its own preprocessing. Safe to call from several threads."""

    identity: Identity
    precisions: tuple[str, ...] = ("float32",)
    """How exactly it can calculate, by name; the first is the default.

    Where there are several, the class takes one as `precision`.
    """
    preparations: tuple[str, ...] = ()
    """How pictures can be prepared, as `Identity.preprocessing` says it; the first is the default.

    Where there are several, the class takes one as `preparation`: a gallery keeps the one that it was made with.
    """
    input_side: int = 224
    """Side in pixels of the square that the network sees."""
    resized_side: int = 256
    """Short side in pixels of the whole picture at that scale; the square is cut from its middle."""

    @property
    def batch(self) -> int:
        """Images to encode at once, where there are many: few, so that a core's cache holds what they need."""
        return 4

    @property
    def single_threaded(self) -> bool:
        """Whether `encode` calculates on the thread that calls it, and on no other: that may then be kept on one core.

        Threads that it starts would be kept there too, and a device that it waits for would leave the core idle.
        """
        return False

    @property
    def preprocessing(self) -> Preprocess:
        """RGB picture of any size -> (side, side, 3), as the network wants it.

        It runs in other processes, without the network: an object that can be pickled, of a module that can be
        imported.
        """
        return Preprocessing(self.input_side, self.resized_side)

    @final
    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return what `preprocessing` makes of a picture, (side, side, 3)."""
        return np.asarray(self.preprocessing(image))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "preprocess" in vars(cls):  # an update would never call it
            raise TypeError(f"{cls.__name__} overrides preprocess: override the property preprocessing")

    def load(self) -> None:  # noqa: B027  # most have nothing to load
        """Load now what the first `encode` would."""

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """Return the class logits (n, classes) that follow from pooled features (n, d); None without classes."""
        return None

    def feature_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature map (n, d, h, w). Raises EncoderError where the network shows none."""
        raise EncoderError(f"{self.identity.name} shows no feature map: choose another code")

    @abstractmethod
    def encode(self, pixels: NDArray[np.uint8]) -> Features:
        """pixels: (n, side, side, 3) RGB, as `preprocess` gives them."""
