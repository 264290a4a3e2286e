"""Check a gallery: catalogue, features, embeddings and index agree, and each is what was written.

Opening a gallery costs the same whatever its size, so it can't look at everything; this does.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from congener.codes import unit
from congener.connection import CATALOGUE, is_writable
from congener.disk import explained, locked
from congener.encoders import Encoder
from congener.errors import DamagedGalleryError, GalleryBusyError, GalleryError
from congener.examination import READ_AGAIN, CheckReport, Examination, Finding, Progress, start_again
from congener.files import FoundImage
from congener.repair import mend
from congener.schema import FORMAT_VERSION, Row, is_own_name
from congener.stamp import Stamp, is_same, stamp_of
from congener.store import Store
from congener.update import Reading, read_all

__all__ = ["CheckReport", "Finding", "check"]

_BLOCK = 4096
_ALIKE = 0.999  # the cosine of a feature and itself from another version of a decoder


def check(
    store: str | os.PathLike[str],
    *,
    encoder: Encoder | None = None,
    folder: str | os.PathLike[str] | None = None,
    repair: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Look at all that a gallery holds.

    store: where it is kept; encoder: by default the one that made it. folder: of its images, to read and encode
    each again; by default they are left alone. repair: mend what can be mended: what is derived is made again, an
    image whose row or feature is damaged is dropped, so that the next update reads its file again.
    Raises GalleryError when there is no gallery, or it can't be looked at; GalleryBusyError while another process
    writes to it. What is wrong with it is in the report.
    """
    place = Path(store)
    started = time.perf_counter()
    if not place.is_dir() or not (Store.exists(place) or any(map(is_own_name, os.listdir(place)))):
        raise GalleryError(f"there is no gallery at {place}: congener index FOLDER makes one")
    with _alone(place):
        report = _examined(place, encoder, folder, progress)
        if repair and (report.findings or report.unused):
            report = _mended(report, lambda: _examined(place, encoder, folder, progress), encoder)
    return replace(report, seconds=time.perf_counter() - started)


def _mended(report: CheckReport, examined: Callable[[], CheckReport], encoder: Encoder | None) -> CheckReport:
    """Mend what was found until nothing is left, or nothing more comes of it; mended is what isn't found again."""
    mended: tuple[Finding, ...] = ()
    for _ in range(3):  # what is mended may show what could not be looked at before
        mend(Path(report.gallery), encoder, report.findings)
        after = examined()
        mended += tuple(replace(found, mended=True) for found in report.findings if found not in after.findings)
        settled = not after.findings or after.findings == report.findings
        report = after
        if settled:
            break
    return replace(report, findings=mended + report.findings)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep writers out, where there may be any."""
    if not is_writable(place):
        yield
        return
    with explained(place), locked(place):
        yield


def _examined(
    place: Path, encoder: Encoder | None, folder: str | os.PathLike[str] | None, progress: Progress | None
) -> CheckReport:
    problem = "there is none"
    if Store.exists(place):
        try:
            store = Store.open(place, trusting=True)
        except DamagedGalleryError as error:
            problem = str(error)
        else:
            with closing(store), _unchanged(store):
                examination = Examination(store, encoder, progress)
                report = examination.report()
                if folder is not None and report.sound:
                    report = _compare_pictures(report, store, examination.encoder, Path(folder), progress)
                return report
    found = Finding("catalogue", CATALOGUE, problem, start_again(place))
    return CheckReport(str(place), FORMAT_VERSION, findings=(found,))


@contextmanager
def _unchanged(store: Store) -> Iterator[None]:
    """Make sure that nobody writes meanwhile, whom a reader without rights can't keep out."""
    before = store.version()
    yield
    if not is_writable(store.folder) and (store.version() != before or not store.is_current):
        raise GalleryBusyError(f"another process is writing to the gallery {store.folder}: check it when it has ended")


def _compare_pictures(
    report: CheckReport, store: Store, encoder: Encoder, folder: Path, progress: Progress | None
) -> CheckReport:
    """Read and encode every file again, and compare."""
    rows = store.rows()
    done, changed, findings = 0, 0, []
    while some := list(islice(rows, _BLOCK)):
        there = [(row, image) for row in some if (image := _found(folder, row))]
        done, changed = done + len(some) - len(there), changed + len(some) - len(there)
        with closing(read_all(folder, [image for _, image in there], encoder, {})) as readings:
            for (row, image), reading in zip(there, readings, strict=True):
                done += 1
                if reading.content not in (b"", row.content) and not is_same(row, image):
                    changed += 1
                elif problem := _difference(row, store.feature(row), reading):
                    findings.append(Finding("picture", row.path, problem, READ_AGAIN))
                if progress:
                    progress(done, report.images)
    return replace(report, pictures=done, changed=changed, findings=(*report.findings, *findings))


def _found(folder: Path, row: Row) -> FoundImage | None:
    """Return an image's file as it is now, None where it is gone, or another than was indexed by size or time."""
    stamp = stamp_of(row)
    try:
        stamp = Stamp.of(os.stat(folder / row.path))
    except FileNotFoundError:
        return None
    except OSError:  # which its reading says
        pass
    if stamp[:2] != (row.size, row.mtime_ns):
        return None
    return FoundImage(row.path, stamp.size, stamp.mtime_ns, ctime_ns=stamp.ctime_ns, inode=stamp.inode)


def _difference(row: Row, feature: NDArray[np.float16], reading: Reading) -> str | None:
    """Return what is wrong with a picture's feature (d,) by what was read of its file, or None."""
    if reading.content not in (b"", row.content):
        return "its file holds something else than was indexed, with the same size and times"
    if reading.problem:
        return reading.problem
    pooled = reading.feature
    assert pooled is not None
    alike = float(unit(pooled) @ unit(feature)) >= _ALIKE or np.allclose(pooled, feature, atol=1e-3)
    return None if alike else "its feature is not what the encoder makes of its file"
