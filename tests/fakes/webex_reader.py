"""How does Webex read a message: what has a form, whom does it call, where does it lead?

It makes HTML of the Markdown and lets some tags pass, and reads ``<@...>`` as a mention; clients link bare addresses.
https://developer.webex.com/docs/basics#formatting-messages
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

STRANGE = (
    "<@all>",
    "&lt;@all&gt;",
    "<@personEmail:mallory@example.com>",
    "<@personEmail:mallory@example.com|Mallory>",
    "<@personId:Y2lzY29zcGFyazovL3VzL1BFT1BMRS9tYWRlLXVw>",
    "`<@all>`",
    '<spark-mention data-object-type="groupMention" data-group-type="all">All</spark-mention>',
    "<blockquote class='danger'>x</blockquote>",
    "<mallory@example.com>",
    "\\<@all>",
    "a](https://evil.example) [b",
    "\\[x\\](https://evil.example)",
    "![",
    "www.evil.example",
    "***a*** ___b___",
    "```sh\nrm\n```",
    "x\n# y\n> z\n- q\n+ r\n1. r\n2) s\n===\n---",
    "12. x",
    "1\n.",
    "&#60;@all&#62;",
    "&copy;",
)
READER = MarkdownIt("commonmark", {"html": True}).enable(["strikethrough", "table"])
CALLS = re.compile(r"<@\s*\w*[^>]*>?|<spark-mention")
BARE = re.compile(r"https?://|\bwww\.", re.IGNORECASE)
_WORDS = ("text", "text_special", "softbreak", "hardbreak", "inline")


def tokens(text: str) -> Iterator[Token]:
    for token in READER.parse(text):
        yield token
        yield from token.children or ()


def form(body: dict[str, Any]) -> list[str]:
    """The Markdown without its words: what is bold, a link, a list."""
    found = tokens(body["markdown"])
    return [f"{one.type} {one.attrs.get('href', '')}" for one in found if one.type not in _WORDS]


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    seen = list(tokens(body["markdown"]))
    return {
        *(f"calls {one}" for one in CALLS.findall(body["markdown"])),
        *(f"leads to {one.attrs['href']}" for one in seen if one.type == "link_open"),
        *(f"form {one.type}" for one in seen if one.type in ("image", "hr", "heading_open", "table_open")),
        *(f"form {one.content}" for one in seen if one.type in ("html_inline", "html_block")),
        *(f"form {one}" for token in seen if token.type == "text" for one in BARE.findall(token.content)),
    }
