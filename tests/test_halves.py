import numpy as np
import pytest

from congener.halves import widened

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


def test_every_finite_number_is_the_same_bits_as_numpy_makes() -> None:
    finite = EVERY[np.isfinite(EVERY)]
    assert len(finite) == 2 * 31 * 1024
    assert (widened(finite).view(np.uint32) == finite.astype(np.float32).view(np.uint32)).all()


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", "<f8"])
def test_any_kind_and_layout_gives_a_copy_of_the_same_shape(dtype: str) -> None:
    numbers = np.linspace(-2, 2, 60).reshape(3, 4, 5).astype(dtype)
    for layout in (numbers, numbers.T, numbers[::2, :, ::-1], numbers[:0]):
        made = widened(layout)
        assert made.dtype == np.float32
        assert made.shape == layout.shape
        assert (made == layout.astype(np.float32)).all()
        before = layout.copy()
        made += 1
        assert (layout == before).all()
