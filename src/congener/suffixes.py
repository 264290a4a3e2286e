"""Suffixes: files that are pictures by their suffix or their head; which of them are read, and which are not."""

import os
import re

HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
SUFFIXES = HEIC_SUFFIXES | {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
}
"""Endings, in lower case, by which a file counts as an image."""

_RAW = (
    ".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos "
    ".mrw .nef .nrw .orf .ori .pef .ptx .pxn .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f"
)
_OTHERS = (
    ".ai .avifs .cdr .cur .dcm .dcx .dds .dib .djvu .emf .eps .exr .fit .fits .fts .hdp .hdr .heics .heifs .icns .ico "
    ".j2c .j2k .jp2 .jpc .jpf .jpm .jpx .jxl .jxr .kra .pam .pbm .pcd .pct .pcx .pfm .pgm .pic .pict .pnm .ppm .psb "
    ".psd .qoi .ras .rgb .rgba .sgi .svg .svgz .tga .wbmp .wdp .wmf .xbm .xcf .xpm"
)
UNREAD = dict.fromkeys(_RAW.split(), "raw") | {suffix: suffix for suffix in _OTHERS.split()}
"""Endings, in lower case, of pictures that aren't read, and the kind to count each under."""

NO_PICTURES = frozenset(
    {
        *(".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"),
        *(".aac", ".flac", ".m4a", ".mp3", ".wav", ".aae", ".csv", ".db", ".json", ".log", ".xml", ".xmp", ".zip"),
    }
)
"""Endings, in lower case, of what lies beside pictures and is none: films, sounds, notes on a picture."""

HEAD_BYTES = 32
"""Of a file, by which its kind is told."""


def suffix_of(name: str) -> str:
    """Return the ending of a file's name, with its dot, in lower case."""
    return os.path.splitext(name)[1].lower()


def kind_by_head(head: bytes) -> tuple[str, bool] | None:
    """Return the kind of picture that a file begins as, and whether it is one that is read; None for anything else.

    head: its first `HEAD_BYTES`.
    """
    for kind, (pattern, is_read) in _HEADS.items():
        if pattern.match(head):
            return kind, is_read
    return None


_HEADS = {
    "JPEG": (re.compile(rb"\xff\xd8\xff[\xc0-\xfe]"), True),
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), True),
    "WEBP": (re.compile(rb"RIFF....WEBPVP8", re.DOTALL), True),
    "GIF": (re.compile(rb"GIF8[79]a"), True),
    "BMP": (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), True),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), True),
    "AVIF": (re.compile(rb"....ftypavi[fs]", re.DOTALL), True),
    "HEIC": (re.compile(rb"....ftyp(he[iv][cfmsx]|mif1|msf1)", re.DOTALL), True),
    ".jxl": (re.compile(rb"\0\0\0\x0cJXL \r\n\x87\n"), False),
    ".jp2": (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), False),
    ".psd": (re.compile(rb"8BPS\0[\1\2]\0{6}"), False),
    "raw": (re.compile(rb"FUJIFILMCCD-RAW|II[RU]\0|IIRO|FOVb|....ftypcrx ", re.DOTALL), False),
}
