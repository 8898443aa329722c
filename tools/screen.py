"""How does a page become a small picture? Chromium looks at it, and the picture keeps few colours.

A page of text has hardly more than a hundred colours that anybody can tell apart, and as a list of them it takes a
third of the room. Needs chromium, and nothing from any network.
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TALL = 2_000
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
MEASURE = "<script>document.title = Math.ceil(document.body.getBoundingClientRect().height)</script>"
"""At the end of a page: the first look measures how tall it is, as the browser cuts its picture by the window."""


def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        sys.exit("the picture is drawn by chromium, which is not here: apt-get install chromium fonts-lato")
    return found


def _look(folder: Path, *arguments: str) -> str:
    """Let the browser look at the page once; return what it prints."""
    command = [browser(), *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments, (folder / "page.html").as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603


def draw(page: str, picture: Path, *, width: int, scale: float, limit: int, colours: int = 0) -> None:
    """Write the picture of a page that ends with MEASURE, in `limit` bytes; in so many colours, if any are given."""
    with tempfile.TemporaryDirectory(prefix="bridge-picture-") as name:
        folder = Path(name)
        (folder / "page.html").write_text(page, "utf-8")
        measured = re.search(r"<title>(\d+)</title>", _look(folder, "--dump-dom", f"--window-size={width},{TALL}"))
        if not measured:
            sys.exit("chromium did not say how tall the page is")
        size = f"--window-size={width},{measured[1]}"
        _look(folder, f"--screenshot={folder / 'page.png'}", size, f"--force-device-scale-factor={scale}")
        seen = (folder / "page.png").read_bytes()
    kept = fewer(seen, colours) if colours else seen
    if len(kept) > limit:
        sys.exit(f"{picture.name} has {len(kept)} bytes, more than {limit}: fewer messages, or a smaller scale")
    picture.write_bytes(kept)


# -- fewer colours


def fewer(png: bytes, colours: int) -> bytes:
    """Return the picture with its most frequent colours alone, at most 256; every other becomes its nearest."""
    wide, high, channels, raw = _read(png)
    rows = list(_unfiltered(raw, wide * channels, high, channels))
    pixels = [[bytes(row[at : at + 3]) for at in range(0, len(row), channels)] for row in rows]
    counted = Counter(pixel for row in pixels for pixel in row)
    kept = _spread(counted, colours)
    index = {pixel: min(range(len(kept)), key=lambda at: _apart(kept[at], pixel)) for pixel in counted}
    # Each line opens with the filter 0, which is best for a list of colours.
    body = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    head = struct.pack(">IIBBBBB", wide, high, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(kept)), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _spread(counted: Counter[bytes], colours: int) -> list[bytes]:
    """Return the most frequent colours, none of which is hardly another one."""
    kept: list[bytes] = []
    for near in (300, 40, 0):
        for pixel, _ in counted.most_common(4_000):
            if len(kept) < colours and all(_apart(one, pixel) > near for one in kept):
                kept.append(pixel)
    return kept


def _apart(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _read(png: bytes) -> tuple[int, int, int, bytes]:
    """Return width, height, bytes of a pixel and the filtered lines of a picture as chromium writes it."""
    at, packed = 8, b""
    wide = high = channels = 0
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            wide, high, depth, colour = struct.unpack(">IIBB", data[:10])
            channels = {2: 3, 6: 4}[colour]
            if depth != 8:
                sys.exit(f"the browser writes {depth} bits a colour, and eight are read here")
        elif kind == b"IDAT":
            packed += data
        at += length + 12
    return wide, high, channels, zlib.decompress(packed)


def _unfiltered(raw: bytes, wide: int, high: int, step: int) -> Iterator[bytearray]:
    above = bytearray(wide)
    for number in range(high):
        start = number * (wide + 1)
        kind, line = raw[start], bytearray(raw[start + 1 : start + 1 + wide])
        for at in range(wide) if kind else ():
            left = line[at - step] if at >= step else 0
            corner = above[at - step] if at >= step else 0
            line[at] = (line[at] + _guess(kind, left, above[at], corner)) & 0xFF
        yield line
        above = line


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    match kind:
        case 1:
            return left
        case 2:
            return up
        case 3:
            return (left + up) // 2
    near = left + up - corner
    return min((left, up, corner), key=lambda one: abs(near - one))
