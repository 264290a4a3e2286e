"""A server that is used from all sides at once for long takes no more memory than at first."""

import base64
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.web.test_bodies import head

SECONDS = float(os.environ.get("CONGENER_SOAK_SECONDS", "600"))
SIDES = 8
IMAGES = 24

_SERVER = """
import sys
from pathlib import Path
from congener.gallery import Gallery
from congener.web.app import create_app
from congener.web.memory import give_back
from tests.web.conftest import listening

give_back()
with Gallery(sys.argv[1]) as gallery:
    gallery.update()
    with listening(create_app(gallery, update=False)) as port:
        told = f"{first:.0f} MB in the second fifth, {last:.0f} in the last, {max(memory)} at most"
    print(f"{len(statuses)} requests; {told}")  # noqa: T201
    assert set(statuses) <= {200, 201, 202, 503}
    assert statuses.count(503) < len(statuses) / 4
    assert last - first < 40
    assert max(memory) < 280
