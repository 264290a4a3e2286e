import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from congener.encoders.checkpoint import read_checkpoint
from congener.errors import EncoderError


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def write(path: Path, *pickles: object) -> str:
    path.write_bytes(b"".join(pickle.dumps(value, 2) for value in pickles))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = write(tmp_path / "evil.pth", Evil())
    with pytest.raises(EncoderError, match=r"__builtin__.print: refused"):
        read_checkpoint(tmp_path / "evil.pth", digest)
    assert capsys.readouterr().out == ""


def test_another_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "evil.pth", Evil())
    with pytest.raises(EncoderError, match="reinstall"):
        read_checkpoint(tmp_path / "evil.pth", "0" * 64)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    digest = write(tmp_path / "other.pth", 1, 2, 3)
    with pytest.raises(EncoderError, match="old pickle format"):
        read_checkpoint(tmp_path / "other.pth", digest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"none\.pth"):
        read_checkpoint(tmp_path / "none.pth", "0" * 64)


def test_it_reads_what_torch_reads_bit_for_bit() -> None:
    torch = pytest.importorskip("torch")
    from congener.encoders import lite0

    path = lite0.weights_path()
    theirs = torch.load(path, "cpu", weights_only=True)
    ours = lite0.read_weights()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert np.array_equal(ours[name], tensor.numpy()), name
