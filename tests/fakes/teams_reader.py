"""How does Teams read a card: what has a form, whom does it call, where does it lead?

A text run is read as it stands, but for `{{DATE(...)}}`; a text block, a fact and a button's title are not: those are
looked through for Markdown.
https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.teams_validator import elements

STRANGE = (
    "<at>octocat</at>",
    "<AT>octocat</AT>",
    "< at >octocat</ at >",
    '<at id="0">octocat</at>',
    "{{DATE(2026-11-24T06:08:39Z, SHORT)}}",
    "{{ TIME(2026-11-24T06:08:39Z) }}",
    "${$root.secret}",
    "@{triggerBody()}",
    "![x](https://evil.example/x.png)",
    "[x]( https://evil.example )",
    "&lt;at&gt;octocat&lt;/at&gt;",
    "\r- x\r1. y",
)
_LIVELY = re.compile(r"<\s*/?\s*at\b|\{\{\s*(?:DATE|TIME)\b", re.IGNORECASE)
_MARKDOWN = re.compile(r"[*_\[\]`#\n]|^\s*(?:-|\d+\.)\s")


def card(body: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = body["attachments"][0]["content"]
    return content


def form(body: dict[str, Any]) -> list[Any]:
    """A card without its words. Lines that follow close on another one with the same looks are one text with it."""
    return [*_blocks(card(body)["body"]), *([one["type"], one["url"]] for one in card(body).get("actions", []))]


def _blocks(blocks: list[dict[str, Any]]) -> Iterator[Any]:
    last: Any = None
    for one in blocks:
        if one["type"] == "Container":
            found: Any = ["Container", one["style"], list(_blocks(one["items"]))]
        elif one["type"] == "RichTextBlock":
            found = [one.get("spacing", ""), _runs(one["inlines"])]
            if last is not None and found[0] == "None" and {*map(str, found[1])} <= {*map(str, last[1])}:
                continue
        else:
            found = [one["type"]]
        last = found if one["type"] == "RichTextBlock" else None
        yield found


def _runs(inlines: list[dict[str, Any]]) -> list[Any]:
    found: list[Any] = []
    for one in inlines:
        look = {key: value for key, value in one.items() if key != "text"}
        if not found or found[-1] != look:
            found.append(look)
    return found


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {*_calls(card(body)), *_of_elements(card(body))}


def _calls(content: dict[str, Any]) -> Iterator[str]:
    for one in content["msteams"].get("entities", []):
        yield f"calls {one['mentioned']['id']}"


def _of_elements(content: dict[str, Any]) -> Iterator[str]:
    for one in elements(content):
        if "url" in one:
            yield f"leads to {one['url']}"
        if one["type"] in ("TextBlock", "FactSet", "Image", "Media"):
            yield f"form {one['type']}"
        if one["type"] == "TextBlock":
            yield from (f"form {found}" for found in _MARKDOWN.findall(one["text"]))
        elif "text" in one:
            yield from (f"reads {found}" for found in _LIVELY.findall(one["text"]))
