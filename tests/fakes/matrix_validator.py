"""Would a homeserver take this content, and clients show all of its HTML? By the specification's own lists.

https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes · #size-limits
"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from tests.fakes.base import Invalid

LARGEST = 65_536
AROUND = 2_000  # bytes that the server adds: room, sender, hashes, signatures
TAGS = {
    "del": set(),
    "h1": set(),
    "blockquote": set(),
    "p": set(),
    "a": {"href", "target"},
    "ul": set(),
    "ol": {"start"},
    "li": set(),
    "b": set(),
    "i": set(),
    "u": set(),
    "strong": set(),
    "em": set(),
    "code": {"class"},
    "br": set(),
    "hr": set(),
    "pre": set(),
    "span": {"data-mx-bg-color", "data-mx-color", "data-mx-spoiler", "data-mx-maths"},
}
_KEYS = {"msgtype", "body", "format", "formatted_body", "m.mentions", "m.relates_to", "m.new_content"}


def check(body: dict[str, Any]) -> None:
    """Return if a server would take `body`, also as an edit, else raise Invalid."""
    _check_content(body)
    edit = {"m.new_content": body, "body": f"* {body['body']}", "m.relates_to": {"event_id": "$" + "e" * 43}}
    size = len(json.dumps(edit, ensure_ascii=False, separators=(",", ":")).encode()) + AROUND
    _need(size <= LARGEST, f"{size} bytes")
    if "m.new_content" in body:
        _check_content(body["m.new_content"])
        _need("m.relates_to" not in body["m.new_content"], "a relation within the new content")


def _check_content(body: dict[str, Any]) -> None:
    _need(set(body) <= _KEYS, f"unknown keys in {sorted(body)}")
    _need(body.get("msgtype") in ("m.notice", "m.text"), "no msgtype")
    _need(isinstance(body.get("body"), str) and body["body"].strip() != "", "no body")
    _need(isinstance(body.get("m.mentions"), dict), "no m.mentions: names in the text would count")
    if "formatted_body" in body:
        _need(body.get("format") == "org.matrix.custom.html", "no format")
        _Strict().judge(body["formatted_body"])


class _Strict(HTMLParser):
    """Reads HTML whose every tag is on the list and closed in its turn."""

    def judge(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        self.close()
        _need(self.open == [], f"not closed: {self.open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        _need(tag in TAGS, f"<{tag}> is not shown")
        _need({name for name, _ in attrs} <= TAGS[tag], f"attributes of <{tag}>")
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        _need(self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}")
        self.open.pop()

    def handle_comment(self, data: str) -> None:
        raise Invalid("a comment")


def _need(fits: bool, text: str) -> None:
    if not fits:
        raise Invalid(text)
