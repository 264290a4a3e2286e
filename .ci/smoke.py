"""What an installed wheel must do, in an environment that holds nothing else: the demo; with the extra, the page."""

import json
import re
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

CONGENER = str(Path(sysconfig.get_path("scripts")) / "congener")


def core() -> None:
    """Paint, index, search; the page asks for its extra."""
    answer = json.loads(subprocess.check_output([CONGENER, "demo", "smoke", "--json"]))
    right = sum(hit["label"] in query["query"] for query in answer["queries"] for hit in query["hits"])
    if right < 100:
        raise SystemExit(f"the demo finds {right} of 160 specimens")
    refused = subprocess.run([CONGENER, "serve", "smoke/cabinet"], capture_output=True, text=True)
    if refused.returncode != 2 or "congener[web]" not in refused.stderr:
        raise SystemExit(f"without the extra, serve says: {refused.stderr}")
    print(f"the demo finds {right} of 160 specimens")


def web() -> None:
    """Open the page, and ask through the API."""
    command = [CONGENER, "serve", "smoke/cabinet", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            place = re.search(r"http://[0-9.]+:\d+", server.stdout.readline())
            assert place is not None
            page = urllib.request.urlopen(place[0], timeout=30).read().decode()
            for linked in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
                urllib.request.urlopen(place[0] + linked, timeout=30).read()
            question = json.dumps({"id": 1, "k": 5}).encode()
            request = urllib.request.Request(f"{place[0]}/api/search", question, {"Content-Type": "application/json"})
            answer = json.load(urllib.request.urlopen(request, timeout=30))
        finally:
            server.terminate()
    print(f"the page shows {page.count('<img')} pictures, the API gives {len(answer['hits'])} hits")


if __name__ == "__main__":
    {"core": core, "web": web}[sys.argv[1]]()
