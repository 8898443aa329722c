"""How does a Matrix client read a message: what has a form, whom does it call, where does it lead?

Clients make links of addresses in a text, and mentions of what looks like a user or a room, but not within code.
https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes · #user-and-room-mentions
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

STRANGE = (
    "@room",
    "@octocat:example.org",
    "#builds:example.org !builds:example.org",
    "@[2001:db8::1]:8448 @a:b",
    "https://matrix.to/#/@octocat:example.org",
    "matrix:u/octocat:example.org",
    "www.evil.example mailto:a@evil.example",
    "HTTPS://EVIL.EXAMPLE ftp://evil.example",
    '<a href="https://evil.example">x</a>',
    "<mx-reply>x</mx-reply>",
    '" onclick="x',
    "' x='",
    "</code></pre><h1>x</h1>",
    "<!-- x -->",
    "&#64;room &lt;b&gt;",
    '<span data-mx-color="#ff0000">red</span>',
    "$x^2$ ||s||",
)
LINKS = re.compile(
    r"\w+://|www\.\w|mailto:\w|matrix:\w|@room|[@#!][^\s:\u2060]+:[\w\[]",
    re.IGNORECASE,
)
PERSON = "https://matrix.to/#/"


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.texts: list[str] = []
        self._code = 0
        self._pill = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.texts.append("\n")
            return
        self.tags.append(f"{tag} {sorted(attrs)}")
        self.urls += [value or "" for name, value in attrs if name in ("href", "src")]
        self._code += tag == "code"
        self._pill = tag == "a" and self.urls[-1].startswith(PERSON)

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"
        self._pill = False

    def handle_data(self, data: str) -> None:
        if not self._code and not self._pill:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")


def form(body: dict[str, Any]) -> list[str]:
    return _Reader(body["formatted_body"]).tags


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {
        *(f"may call {one}" for one in body["m.mentions"].get("user_ids", [])),
        *(f"may call {one}" for one in body["m.mentions"] if one != "user_ids"),
        *_of_html(body["formatted_body"]),
        *_of_text(body),
    }


def _of_html(text: str) -> Iterator[str]:
    read = _Reader(text)
    for url in read.urls:
        yield f"calls {url}" if "matrix.to" in url else f"leads to {url}"
    yield from (f"form {one}" for one in LINKS.findall("".join(read.texts)))


def _of_text(body: dict[str, Any]) -> Iterator[str]:
    """The plain text beside it: all that leads somewhere are the buttons' addresses, at the ends of lines."""
    for line in body["body"].split("\n"):
        if line in body["m.mentions"].get("user_ids", []):
            continue
        text, _, address = line.rpartition(": ")
        if re.fullmatch(r"https?://\S+", address):
            yield f"leads to {address}"
        else:
            text = line
        yield from (f"form {one}" for one in LINKS.findall(text))
