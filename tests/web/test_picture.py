"""The README's picture is drawn from what is really sent, and leaves nothing of it out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import picture, screen

FOLDER = Path(__file__).parents[1] / "destinations" / "slack"
GOLDEN = sorted(path for path in FOLDER.glob("*.json") if path.stem != "hostile")  # that one holds many messages


def texts(node: Any) -> Iterator[str]:
    """Yield every text of a block that a reader sees."""
    if isinstance(node, list):
        for one in node:
            yield from texts(one)
    elif isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "text" and isinstance(value, str))
        yield from texts([value for value in node.values() if not isinstance(value, str)])


def drawn(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html).replace("&#39;", "'").replace("&amp;", "&")


def test_the_picture_shows_every_text_that_is_sent() -> None:
    html = drawn(picture.page())
    for _, payload in picture.payloads():
        for text in texts([payload["blocks"], payload["attachments"]]):
            assert text in html


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_whatever_the_shipped_templates_send_can_be_drawn(golden: Path) -> None:
    payload = json.loads(golden.read_text("utf-8"))
    html = drawn(picture._message(picture.posts()[0], payload))
    for text in texts([payload["blocks"], payload.get("attachments")]):
        assert text in html


def test_what_cannot_be_drawn_is_not_left_out_in_silence() -> None:
    with pytest.raises(ValueError, match="no drawing for image"):
        picture._element({"type": "image", "image_url": "https://example.com/a.png"})


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install chromium"):
        screen.browser()


def test_the_picture_is_there_and_small() -> None:
    assert picture.PICTURE.read_bytes().startswith(b"\x89PNG")
    assert picture.PICTURE.stat().st_size < picture.LIMIT
