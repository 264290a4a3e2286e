#!/usr/bin/env bash
# usearch: Index.save to a disk that fills up within the last 4 KiB of the file.
#
# Expected: an error, as for any file that could not be written whole.
# Seen with usearch 2.23.0: an error where more than the last buffer is missing, and none where up to 4,095 bytes are: the file
# is short, and save returned. Whoever renames such a file into place has lost the index. A mapped view of one crashed the
# process; that is not shown. What helps: work out from the file's own header how long it must be, and compare.
#
# Room is bounded by the shell's own limit of a file's size (RLIMIT_FSIZE), so no disk is filled. Linux and macOS.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q usearch==2.23.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import os
import resource
import signal

import numpy as np
from usearch.index import Index

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an error, not a signal
index = Index(ndim=64, metric="ip", dtype="f32")
index.add(np.arange(2000), np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32))
index.save("whole")
whole = os.path.getsize("whole")
seen = {}
for missing in (1, 100, 4096, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole - missing, resource.RLIM_INFINITY))
    try:
        index.save("cut")
        seen[missing] = "no error"
    except RuntimeError:
        seen[missing] = "an error"
    assert os.path.getsize("cut") == whole - missing
    os.unlink("cut")
print("bytes missing, and what save said:", seen)
assert seen == {1: "no error", 100: "no error", 4096: "an error", 100_000: "an error"}, "this has changed"
PYTHON
