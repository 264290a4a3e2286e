"""The page's API under load: 16 clients search a large gallery by id, alone and while large photos are uploaded.

    python benchmarks/web_load.py [--json] [--quick]

A `congener serve` of its own on the loopback, over a gallery whose features are made (see `common.blocks`). Each client
asks, waits for the answer, and asks again. Beside it stands what the same searches take in one process without HTTP,
from one thread and from as many as cores: the limit of what a server can give. Clients share its cores.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import machine, made_gallery, report, spread
from congener import Gallery
from congener.cores import cores

CLIENTS, UPLOADERS = 16, 2
IMAGES, QUICK_IMAGES = 100_000, 10_000
ROUNDS, SECONDS = 5, 8.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 3.0
PIXELS = (4000, 3000)


def photo() -> bytes:
    """Return a JPEG of 12 million pixels with some detail."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (PIXELS[1] // 8, PIXELS[0] // 8, 3), np.uint8))
    file = BytesIO()
    small.resize(PIXELS, Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
    return file.getvalue()


def in_process(gallery: Gallery, seconds: float) -> dict[str, float]:
    """Return searches a second without HTTP, from one thread and from one a core, each with a handle of its own."""

    def run(number: int) -> int:
        with Gallery(gallery.folder, store=gallery.store_folder, encoder=gallery.encoder) as handle:
            ids = random.Random(number)
            handle.search(1)
            done, until = 0, time.perf_counter() + seconds
            while time.perf_counter() < until:
                handle.search(ids.randint(1, len(handle)))
                done += 1
        return done

    alone = run(0) / seconds
    with ThreadPoolExecutor(cores()) as pool:
        together = sum(pool.map(run, range(cores()))) / seconds
    return {"one_thread": alone, "a_thread_a_core": together}


class Client:
    """One connection that is kept, and what came of its requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seconds: list[float] = []
        self.refused = self.lost = 0

    async def ask(self, requests: Sequence[bytes], until: float) -> None:
        """Send requests, one after the other, until the time is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        number = 0
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(requests[number % len(requests)])
            number += 1
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                assert length is not None
                body = await reader.readexactly(int(length[1]))
            except (asyncio.IncompleteReadError, ConnectionError):
                self.lost += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                continue
            if head.split(b" ", 2)[1] in (b"200", b"201"):
                json.loads(body)
                self.seconds.append(time.perf_counter() - started)
            else:
                self.refused += 1
        writer.close()


def post(path: str, kind: str, body: bytes) -> bytes:
    """Return a request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def load(port: int, images: int, seconds: float, picture: bytes | None, seed: int) -> dict[str, Any]:
    """Return what 16 clients see in so many seconds, and those who upload a picture meanwhile, if there is one."""
    ids = random.Random(seed)
    searches = [
        [
            post("/api/search", "application/json", json.dumps({"id": ids.randint(1, images), "k": 10}).encode())
            for _ in range(500)
        ]
        for _ in range(CLIENTS)
    ]
    clients = [Client(port) for _ in range(CLIENTS)]
    uploaders = [Client(port) for _ in range(UPLOADERS if picture else 0)]
    uploads = []
    if picture is not None:
        for number in range(64):  # each a little different, so that none is known already
            part = b"--b\r\nContent-Disposition: form-data; name=image; filename=p.jpg\r\n\r\n"
            body = part + picture + str(number + 64 * seed).encode() + b"\r\n--b--\r\n"
            uploads.append(post("/api/search", "multipart/form-data; boundary=b", body))
    until = time.perf_counter() + seconds
    asking = [client.ask(some, until) for client, some in zip(clients, searches, strict=True)]
    await asyncio.gather(*asking, *(each.ask(uploads, until) for each in uploaders))
    taken = sorted(second for client in clients for second in client.seconds)
    return {
        "rate": len(taken) / seconds,
        "p50_ms": 1e3 * statistics.median(taken),
        "p95_ms": 1e3 * taken[int(0.95 * len(taken))],
        "most_ms": 1e3 * taken[-1],
        "refused": sum(client.refused for client in clients),
        "lost": sum(client.lost for client in clients),
        "uploads_rate": sum(len(each.seconds) for each in uploaders) / seconds,
        "uploads_failed": sum(each.refused + each.lost for each in uploaders),
    }


def serve(gallery: Gallery) -> tuple[subprocess.Popen[str], int]:
    """Start the server; return it and its port."""
    command = [sys.executable, "-m", "congener", "serve", str(gallery.folder), "--gallery", str(gallery.store_folder)]
    server = subprocess.Popen(
        [*command, "--port", "0", "--no-update"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert server.stdout is not None
    address = re.search(r":(\d+)/", server.stdout.readline())
    assert address is not None
    return server, int(address[1])


def measure(images: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Return all figures: medians over rounds in which both loads take turns."""
    with tempfile.TemporaryDirectory() as place:
        gallery = made_gallery(images, Path(place))
        limit = in_process(gallery, seconds)
        server, port = serve(gallery)
        try:
            picture = photo()
            asyncio.run(load(port, images, 2.0, picture, 99))  # opens handles, starts the workers
            alone, uploading = [], []
            for number in range(rounds):
                alone.append(asyncio.run(load(port, images, seconds, None, number)))
                uploading.append(asyncio.run(load(port, images, seconds, picture, number)))
        finally:
            server.terminate()
            server.wait(20)
        gallery.close()
    return {
        "machine": machine(),
        "images": images,
        "clients": CLIENTS,
        "uploaders": UPLOADERS,
        "limit": limit,
        "alone": {name: spread([each[name] for each in alone]) for name in alone[0]},
        "uploading": {name: spread([each[name] for each in uploading]) for name in uploading[0]},
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the figures in words."""
    limit = result["limit"]
    said = [
        f"{result['machine']}",
        f"{result['images']:,} images; without HTTP {limit['one_thread']:.0f} searches/s from one thread, "
        f"{limit['a_thread_a_core']:.0f} from one a core",
    ]
    for name, words in (("alone", f"{CLIENTS} clients"), ("uploading", f"the same, {UPLOADERS} upload 12 megapixels")):
        each = result[name]
        rate = each["rate"]
        said.append(
            f"{words}: {rate['median']:.0f} searches/s ({rate['min']:.0f} to {rate['max']:.0f}), "
            f"p50 {each['p50_ms']['median']:.0f} ms, p95 {each['p95_ms']['median']:.0f} ms, "
            f"longest {each['most_ms']['max']:.0f} ms; refused {each['refused']['max']:.0f}, "
            f"lost {each['lost']['max']:.0f}; {each['uploads_rate']['median']:.1f} uploads/s"
        )
    return said


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="a look: fewer images and rounds, nothing is kept")
    options = parser.parse_args()
    images, rounds, seconds = (
        (QUICK_IMAGES, QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (IMAGES, ROUNDS, SECONDS)
    )
    result = measure(images, rounds, seconds)
    report("web_load", result, lines(result), as_json=options.json, keep=not options.quick)


if __name__ == "__main__":
    main()
