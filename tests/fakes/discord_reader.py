"""How does Discord read a message: what has a form, whom does it call, where does it lead?

Its Markdown has no HTML, no references, no code by indentation and no headings by underlining.
https://docs.discord.com/developers/reference#message-formatting
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bridge.render.native_discord import GAP, JOINER
from tests.fakes.discord_validator import embed_texts

STRANGE = (
    "<@80351110224678912> <@!80351110224678912>",
    "<@&41771983423143936>",
    "<#1090000000000000001>",
    "<t:1700000000:R>",
    "<:wave:1090000000000000001> <a:wave:1090000000000000001>",
    "<id:customize> </deploy:1090000000000000001>",
    "@everyone",
    "@here",
    "\\@everyone \\<@80351110224678912>",
    "[x](<https://evil.example>)",
    "[a [b](https://evil.example)",
    "a](https://evil.example) [b",
    "\\[x\\](https://evil.example)",
    "||s||",
    "***a*** ___b___",
    "```sh\nrm\n```",
    "`` a ` b ``",
    "-# small",
    "### x",
    ">>> x",
    "x\n# y\n> z\n- q\n1. r\n-# s",
    "12. x",
    "https://discord.gg/evil",
    "*" * 60 + "\\" * 61,
    "\u3000\u200b\u2060",
)
READER = MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
READER.disable(["entity", "reference", "code", "lheading", "html_block", "html_inline", "autolink"])
CALLS = re.compile(r"<(?:@[!&]?|#|t:|a?:\w+:|id:|/)[\w: -]*>|@(?=everyone|here)")
ADDRESS = re.compile(r"(?<!\]\()https?://")
SPOILER = re.compile(r"(?<!\\)\|\|")
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
_WORDS = ("text", "text_special", "softbreak", "hardbreak", "inline")


def tokens(text: str) -> Iterator[Token]:
    for token in READER.parse(text):
        yield token
        yield from token.children or ()


def markdown_form(text: str) -> list[str]:
    """A Markdown text without its words: what is bold, a link, a list."""
    return [f"{one.type} {one.attrs.get('href', '')}" for one in tokens(text) if one.type not in _WORDS]


def read(text: str) -> str:
    """What a reader sees."""
    seen = "".join("\n" if "break" in one.type else one.content for one in tokens(text) if not one.children)
    return seen.replace(GAP, "").replace(JOINER, "")


def markdown_places(body: dict[str, Any]) -> list[str]:
    one = body["embeds"][0]
    return [one.get("description", ""), *(field["value"] for field in one.get("fields", []))]


def names(body: dict[str, Any]) -> list[str]:
    one = body["embeds"][0]
    return [one["title"], *(field["name"] for field in one.get("fields", []))]


def urls(node: Any) -> Iterator[str]:
    """Every address that can be clicked."""
    if isinstance(node, list):
        for one in node:
            yield from urls(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "url":
                yield value
            elif key in ("description", "value"):
                yield from (str(token.attrs["href"]) for token in tokens(value) if token.type == "link_open")
            else:
                yield from urls(value)


def form(body: dict[str, Any]) -> list[list[str]]:
    return [markdown_form(text) for text in (*markdown_places(body), *names(body))]


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {
        *(f"calls {one}" for one in CALLS.findall(body.get("content", ""))),
        *(f"may call {one}" for key in ("parse", "users", "roles") for one in body["allowed_mentions"][key]),
        *(f"leads to {one}" for one in urls(body)),
        *_of_embed(body),
    }


def _of_embed(body: dict[str, Any]) -> Iterator[str]:
    labels = [one["label"] for row in body["components"] for one in row["components"]]
    for text in (*embed_texts(body["embeds"][0]), *labels):
        yield from (f"shows {one}" for one in CALLS.findall(text))
    for text in markdown_places(body):
        rest = CODE.sub("", text)
        yield from (f"form {one}" for one in (*ADDRESS.findall(rest), *SPOILER.findall(rest)))
        yield from (f"form {one.type}" for one in tokens(text) if one.type in ("image", "hr", "heading_open"))
    for text in names(body):
        yield from (f"form {one}" for one in markdown_form(text) if not one.startswith("paragraph_"))
        yield from (f"form {one}" for one in re.findall(r"https?://|\|\||\]\(|__", text))
