"""Does each chat have a page, and the page a picture that can be read on a phone and without eyes?"""

from __future__ import annotations

import re
import struct
import zlib

import pytest

from bridge.destinations import DESTINATIONS
from tools.pictures import LIMIT, LOOKS, PICTURES, SENT, page
from tools.screen import fewer

WIDEST = 800  # pixels: twice a phone's


@pytest.mark.parametrize("chat", sorted(DESTINATIONS))
def test_each_page_has_its_picture_near_the_top(chat: str) -> None:
    text = (PICTURES / f"{chat}.md").read_text("utf-8")
    shown = re.search(rf"(?m)^!\[([^\]]+)\]\({chat}\.png\)$", text)
    assert shown, "the page has no picture: python -m tools.pictures, see docs/adding-a-destination.md"
    assert len(shown[1]) > 30, "who cannot see it is told what it shows"
    assert text[: shown.start()].count("\n") < 20


@pytest.mark.parametrize("chat", sorted(DESTINATIONS))
def test_each_picture_is_small(chat: str) -> None:
    picture = (PICTURES / f"{chat}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < LIMIT
    assert struct.unpack(">I", picture[16:20])[0] <= WIDEST


@pytest.mark.parametrize("chat", sorted(DESTINATIONS))
def test_what_is_drawn_is_what_is_sent(chat: str) -> None:
    assert set(LOOKS) == set(DESTINATIONS)
    drawn = re.sub(r"<style>.*</style>|<[^>]*>", "", page(chat), flags=re.DOTALL)
    assert "CI broke on #12" in drawn
    assert "Run ruff" in drawn
    assert ("CI is running on #12" in drawn) == (chat != "webhook")
    assert (SENT / chat / "run-broken.json").is_file()


def test_a_picture_keeps_its_most_frequent_colours() -> None:
    """Two lines of three pixels, one filtered by its left neighbour and one by the line above, with two reds alike."""
    lines = b"\1" + bytes([255, 0, 0, 255, 0, 0, 0, 0, 0]) + b"\2" + bytes([0, 0, 0, 0, 0, 0, 0, 0, 255])
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(lines)),
            (b"IEND", b""),
        )
    )
    small = fewer(png, 2)
    assert b"PLTE" + bytes([254, 0, 0, 254, 0, 255]) in small
    index = zlib.decompress(small[small.index(b"IDAT") + 4 : small.index(b"IEND") - 8])
    assert len(set(index[1:4])) == 1, "reds that nobody can tell apart are one"
    assert len(set(index[5:8])) == 2
