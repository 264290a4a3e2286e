"""What is killed: forks, for each line on standard input, a process that does one job on a gallery.

A line: STORE, PICTURES, ACKNOWLEDGED, the job, and null or the globs that updates leave out from then on, in JSON.
Answered with the process's number; after another line, with its exit status when it has ended. After each commit, the
process writes the catalogue's contents to ACKNOWLEDGED.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import congener.check  # as all that follows: loaded once, before it forks
import congener.indexes.approximate
import congener.store
import congener.update
from congener import Gallery
from congener.errors import CongenerError
from congener.store import Store
from tests.conftest import MeanColour
from tests.faults.workload import APPROXIMATE, tell_commits

with suppress(ImportError):
    import usearch.index  # noqa: F401


def adapt(gallery: Gallery) -> None:
    """Learn from labels; an early gallery may have too few of them."""
    try:
        gallery.adapt(force=True)
    except CongenerError as error:
        if "learning needs labels" not in str(error):
            raise


JOBS: dict[str, Callable[[Gallery], object]] = {
    "index": lambda gallery: gallery.update(prune=True),
    "refit": lambda gallery: gallery.update(refit=True, prune=True),
    "graph": lambda gallery: gallery.update(refit=True, index=APPROXIMATE, prune=True),
    "exact": lambda gallery: gallery.update(index="exact", prune=True),
    "adapt": adapt,
    "forget": lambda gallery: gallery.forget(),
    "check": lambda gallery: congener.check.check(gallery.store_folder, encoder=MeanColour(), repair=True),
}


def do(store: str, pictures: str, acknowledged: str, job: str, exclude: list[str] | None) -> None:
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    tell_commits(lambda text: os.write(log, f"{text}\n".encode()))
    congener.update.COMMIT_SECONDS = 0
    congener.store._COMPACT_BYTES = 1
    with Gallery(pictures, store=Path(store), encoder=MeanColour()) as gallery:
        is_fitted = Store.exists(gallery.store_folder) and gallery.fit is not None
        if exclude is not None and job == "index":
            gallery.update(exclude=exclude, prune=True)
        else:
            JOBS[job if is_fitted else "index"](gallery)


def main() -> None:
    for line in sys.stdin:
        process = os.fork()
        if not process:
            try:
                do(*json.loads(line))
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)  # noqa: T201
                os._exit(1)
        print(process, flush=True)  # noqa: T201
        sys.stdin.readline()  # until then its number is no other's
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
