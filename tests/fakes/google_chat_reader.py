"""How does Google Chat read a message: what has a form, whom does it call, where does it lead?

A paragraph of a card is HTML, `text` has marks and mentions, and the rest is read as it stands: that is looked through
for both all the same.
https://developers.google.com/workspace/chat/format-messages
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.google_chat_validator import buttons, texts

STRANGE = (
    "<users/all>",
    "<users/123456789012345678901>",
    "<https://evil.example|x>",
    "<a href='https://evil.example'>x</a>",
    '</font></a><a href="https://evil.example">x',
    "<br><font color=#ffffff>x",
    "<!-- x -->",
    "<time>x</time>",
    "&lt;users/all&gt;",
    "&#60;users/all&#62;",
    "&nbsp;&NewLine;x",
    "*a* _b_ ~c~ `d` ```e```",
    "@all",
    "* x\n* y",
)
_TAG = re.compile(r"<[^>]*>")
_HREF = re.compile(r'<a href="([^"]*)">')


def form(body: dict[str, Any]) -> list[list[str]]:
    """A message without its words: what is bold, a link, a button. A line break is a word."""
    paragraphs = [[tag for tag in _TAG.findall(text) if tag != "<br>"] for text in texts(body)]
    return [*paragraphs, [one["onClick"]["openLink"]["url"] for one in buttons(body)]]


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {
        *(f"calls {one}" for one in re.findall(r"<[^>]*>", body.get("text", ""))),
        *(f"form {one}" for one in re.findall(r"[*_~`|\n]", body.get("text", ""))),
        *(f"leads to {html.unescape(one)}" for text in texts(body) for one in _HREF.findall(text)),
        *(f"leads to {one['onClick']['openLink']['url']}" for one in buttons(body)),
        *_of_paragraphs(body),
        *_of_second_reading(body),
    }


def _of_paragraphs(body: dict[str, Any]) -> Iterator[str]:
    for text in texts(body):
        yield from (f"form {tag}" for tag in _TAG.findall(text) if not tag.startswith(("<a ", "</")))
        yield from (f"form {one}" for one in re.findall(r"[<>]", _TAG.sub("", text)))


def _of_second_reading(body: dict[str, Any]) -> Iterator[str]:
    """What a program that reads plain text as marks, or as HTML, would find."""
    for text in (body["fallbackText"], *(one["text"] for one in buttons(body))):
        yield from (f"second reading {one}" for one in re.findall(r"<[\w/!?]|&[\w#]", text))
