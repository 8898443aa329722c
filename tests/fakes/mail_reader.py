"""How does a mail program read a mail: what has a form, whom does it reach, where does it lead?

It shows the HTML, or the plain text, and makes links of bare addresses in both.
https://html.spec.whatwg.org/multipage/parsing.html
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

STRANGE = (
    "x\r\nBcc: mallory@example.com",
    "x\nSubject: y\n\n<b>z</b>",
    "=?utf-8?q?=0ABcc=3A_mallory=40example=2Ecom?=",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</div></body></html><h1>x</h1>",
    "<style>*{display:none}</style>",
    "<!-- x",
    "<![CDATA[x]]>",
    "&lt;b&gt;x&lt;/b&gt; &#60;b&#62; &nbsp;",
    "www.evil.example",
    "mailto:mallory@example.com",
    "cid:x data:text/html,x",
    ".\n.\nQUIT",
    "\x0b\x0c\x1c\x1d\x1e\x85x",
    "\u2028\u2029Bcc: mallory@example.com",
    "a" * 99,
)
DRIVES = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
BARE = re.compile(r"(?:https?://|\bwww\.)[^\s<>]*", re.IGNORECASE)


class _Tags(HTMLParser):
    """The tags of a text, and its words without those of links."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", {}))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration", {}))

    unknown_decl = handle_decl
    handle_pi = handle_decl


def words(html: str) -> str:
    """What a reader sees."""
    return "".join(_Tags(html).words)


def form(body: dict[str, Any]) -> list[str]:
    """The HTML without its words and without line breaks."""
    return [f"{tag} {sorted(attrs.items())}" for tag, attrs in _Tags(body["html"]).tags if tag != "br"]


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it reaches, where it leads, and whatever else is more than text."""
    seen = _Tags(body["html"])
    return {
        *(f"calls {one}" for one in (*body["to"], *body["cc"])),
        *(f"leads to {attrs['href']}" for _, attrs in seen.tags if "href" in attrs),
        *(f"leads to {one}" for text in (body["text"], *seen.words) for one in BARE.findall(text)),
        *(f"tag {tag} {sorted(attrs)}" for tag, attrs in seen.tags if tag != "br"),
        *(f"subject {one!r}" for one in DRIVES.findall(body["subject"])),
    }
