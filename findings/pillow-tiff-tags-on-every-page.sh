#!/usr/bin/env bash
# Pillow: a TIFF of a preview and its master, written with save_all and tiffinfo for the first picture.
#
# Expected: tiffinfo describes the picture that is saved, so the tag NewSubfileType = 1 ("a reduced version of another page") stands
# on the first page only.
# Seen with Pillow 13.0.0: it stands on every page. The master says that it is a preview of something else, too, and a reader that goes by
# the tag finds no master. What helps: give each appended picture an encoderinfo of its own, with its tiffinfo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pillow==13.0.0
venv/bin/python - <<'PYTHON'
from PIL import Image, TiffImagePlugin

NEW_SUBFILE_TYPE = 254
preview, master = Image.new("RGB", (120, 90), "red"), Image.new("RGB", (1200, 900), "blue")


def types(path: str) -> list[tuple[tuple[int, int], int | None]]:
    with Image.open(path) as file:
        pages = []
        for page in range(file.n_frames):
            file.seek(page)
            pages.append((file.size, file.tag_v2.get(NEW_SUBFILE_TYPE)))
        return pages


tags = TiffImagePlugin.ImageFileDirectory_v2()
tags[NEW_SUBFILE_TYPE] = 1
preview.save("both.tif", save_all=True, append_images=[master], tiffinfo=tags)
print("size and NewSubfileType of each page:", types("both.tif"))
assert types("both.tif") == [((120, 90), 1), ((1200, 900), 1)], "this has changed"

master.encoderinfo = {"tiffinfo": TiffImagePlugin.ImageFileDirectory_v2()}
preview.save("own.tif", save_all=True, append_images=[master], tiffinfo=tags)
print("with an encoderinfo of its own:", types("own.tif"))
assert types("own.tif")[1][1] in (None, 0), "this has changed"
PYTHON
