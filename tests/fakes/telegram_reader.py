"""How does Telegram read a message: what has a form, whom does it call, where does it lead, and would it take it?

Its HTML knows few tags, and refuses the rest. In text without a form it finds names, commands, tags and addresses.
https://core.telegram.org/bots/api#html-style
https://core.telegram.org/bots/api#messageentity
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from tests.fakes.base import Invalid

STRANGE = (
    "@octocat_bot @x_y",
    "/start /start@evil_bot",
    "#deploy #1a #12",
    "$USD $EUR",
    "evil.example evil.co/a README.md setup.py",
    "evil。example",
    "www.evil.example",
    "a@evil.example",
    "tg://resolve?domain=evil ton://x",
    "https:",
    "//evil.example",
    ".example",
    "@",
    "/",
    '<a href="tg://user?id=5551">x</a>',
    '<a href="https://evil.example">x</a>',
    "</b></a><b>",
    "<tg-spoiler>x</tg-spoiler><pre><code>",
    '" onclick="x',
    "&#60;b&#62; &lt;b&gt; &quot; &copy;",
)
TAGS = frozenset({"b", "i", "s", "u", "a", "code", "pre", "blockquote"})
# What Telegram finds by itself (tdlib's rules, somewhat widened).
FOUND = re.compile(
    r"@\w+|(?<![\w/<>])/[A-Za-z0-9_]+|(?<!\w)#\d*[^\W\d]\w*|(?<!\w)\$[A-Z]{1,8}\b|\w+://\w+|\w+[.。．｡][^\W\d_]{2,}",
)


class _Reader(HTMLParser):
    """Text without markup, and what has a form, as Telegram makes them; raises Invalid as it would refuse."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""
        self.forms: list[str] = []
        self.bare: list[str] = [""]  # texts where something may be found
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise Invalid(f"can't parse entities: unsupported start tag {tag}")
        if attrs and (tag != "a" or [key for key, _ in attrs] != ["href"]):
            raise Invalid(f"odd attributes of {tag}")
        if {"code", "pre"} & set(self._open) or (tag in ("code", "pre") and set(self._open) - {"blockquote"}):
            raise Invalid("code within a form, or a form within code: one of them is lost")
        if tag in self._open:
            raise Invalid(f"{tag} within {tag}")
        self._open.append(tag)
        self.forms.append(f"{tag} {attrs[0][1]}" if attrs else tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise Invalid(f"can't parse entities: unexpected end tag {tag}")
        self.forms.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self._say(data)

    def handle_entityref(self, name: str) -> None:
        known = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
        if name not in known:
            raise Invalid(f"&{name}; is shown as it is")
        self._say(known[name])

    def handle_charref(self, name: str) -> None:
        self._say(chr(int(name[1:], 16) if name[:1] in "xX" else int(name)))

    def handle_comment(self, data: str) -> None:
        raise Invalid("can't parse entities: a comment")

    handle_decl = handle_pi = unknown_decl = handle_comment

    def _say(self, text: str) -> None:
        self.text += text
        if {"code", "pre"} & set(self._open):
            self.bare.append("")
        else:
            self.bare[-1] += text

    def close(self) -> None:
        super().close()
        if self._open:
            raise Invalid("can't parse entities: a tag that is not closed")


def read(html: str) -> _Reader:
    if re.search(r"&(?!(?:lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);)", html) or re.search(r"<(?!/?[a-z])", html):
        raise Invalid("a bare & or <")
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def check(body: dict[str, Any]) -> None:
    """Return if Telegram would take what is shown of `body`, else raise Invalid."""
    keys = {"chat_id", "message_id", "message_thread_id", "text", "parse_mode", "link_preview_options", "reply_markup"}
    if not set(body) <= keys | {"reply_parameters"}:
        raise Invalid(f"unknown keys in {sorted(body)}")
    if body["parse_mode"] != "HTML" or body["link_preview_options"] != {"is_disabled": True}:
        raise Invalid("another mode, or with previews")
    body["text"].encode()
    seen = read(body["text"])
    if not seen.text.strip():
        raise Invalid("message text is empty")
    if len(seen.text.encode("utf-16-le")) // 2 > 4_096:
        raise Invalid("message is too long")
    if sum(not one.startswith("/") for one in seen.forms) > 100:
        raise Invalid("what has a form after the hundredth loses it")
    rows = body.get("reply_markup", {"inline_keyboard": [[None]]})["inline_keyboard"]
    if not rows or len(rows) > 100 or any(not 1 <= len(row) <= 8 for row in rows):
        raise Invalid("no buttons, or too many")
    for one in (button for row in rows for button in row if button):
        if set(one) != {"text", "url"} or not one["text"].strip():
            raise Invalid("a button with other keys or without a text")
        if not re.match(r"https?://[^/]*\w\.\w", one["url"]):
            raise Invalid("button url is invalid")


def form(body: dict[str, Any]) -> list[Any]:
    return [read(body["text"]).forms, [len(row) for row in body.get("reply_markup", {}).get("inline_keyboard", [])]]


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return set(_effects(body))


def _effects(body: dict[str, Any]) -> Iterator[str]:
    seen = read(body["text"])
    for one in seen.forms:
        if one.startswith("a tg://user?id="):
            yield f"calls {one.removeprefix('a tg://user?id=')}"
        elif one.startswith("a "):
            yield f"leads to {one.removeprefix('a ')}"
    for text in seen.bare:
        yield from (f"finds {one}" for one in FOUND.findall(text))
    for row in body.get("reply_markup", {}).get("inline_keyboard", []):
        yield from (f"leads to {button['url']}" for button in row)
