"""Would Google Chat take this message? Judged by its manual.

Its own definition of a message is asked by `test_google_chat_definition`, where that is installed.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from tests.fakes.base import Invalid

MOST = 32_000
TAGS = {"a": {"href"}, "font": {"color"}, "b": set(), "i": set(), "s": set(), "u": set(), "br": set()}
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot);)")


def check(body: dict[str, Any]) -> None:
    """Return if Google Chat would take `body`, else raise Invalid."""
    json.dumps(body, ensure_ascii=False).encode()
    _need(len(json.dumps(body, allow_nan=False)) <= MOST, "too large")
    _need(set(body) <= {"text", "fallbackText", "cardsV2", "thread"}, f"unknown keys in {sorted(body)}")
    (card,) = body["cardsV2"]
    _need(set(card) == {"cardId", "card"} and set(card["card"]) - {"header"} == {"sections"}, "no card")
    for section in card["card"]["sections"]:
        _need(bool(section["widgets"]) and len(section["widgets"]) <= 100, "no widgets, or too many")
        for widget in section["widgets"]:
            _check_widget(widget)
    _need(body["fallbackText"].strip() != "", "an empty fallbackText")


def texts(body: dict[str, Any]) -> list[str]:
    """Return the HTML of a card, paragraph by paragraph."""
    widgets = body["cardsV2"][0]["card"]["sections"][0]["widgets"]
    return [one["textParagraph"]["text"] for one in widgets if "textParagraph" in one]


def buttons(body: dict[str, Any]) -> list[dict[str, Any]]:
    widgets = body["cardsV2"][0]["card"]["sections"][0]["widgets"]
    return [button for one in widgets for button in one.get("buttonList", {}).get("buttons", [])]


def _check_widget(widget: dict[str, Any]) -> None:
    match widget:
        case {"textParagraph": {"text": str(text)}} | {"decoratedText": {"text": str(text)}} if len(widget) == 1:
            reader = _Html()
            reader.feed(text)
            reader.close()
            _need(not reader.open, f"{reader.open} is not closed")
            _need(_ENTITY.search(text) is None, "an entity that nobody meant")
            _need(text.strip() != "", "an empty paragraph")
        case {"buttonList": {"buttons": [_, *_] as found}} if len(widget) == 1:
            for button in found:
                _need(set(button) == {"text", "onClick"} and button["text"].strip() != "", "a button without a text")
                _need(_is_address(button["onClick"]["openLink"]["url"]), "a malformed address")
        case _:
            raise Invalid(f"no such widget: {sorted(widget)}")


class _Html(HTMLParser):
    """Raises Invalid for every tag that Google Chat does not know, and for every one that is closed out of order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        _need(tag in TAGS and {name for name, _ in attrs} == TAGS[tag], f"<{tag}> with {attrs}")
        for name, value in attrs:
            _need(_is_address(value) if name == "href" else bool(re.fullmatch(r"#[0-9a-f]{6}", value or "")), f"{name}")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        _need(bool(self.open) and self.open.pop() == tag, f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        raise Invalid("a comment")

    def handle_decl(self, decl: str) -> None:
        raise Invalid("a declaration")

    def handle_pi(self, data: str) -> None:
        raise Invalid("an instruction")

    def unknown_decl(self, data: str) -> None:
        raise Invalid("a declaration")


def _is_address(value: str | None) -> bool:
    return re.fullmatch(r"https?://[!-~]+", value or "") is not None


def _need(fits: bool, text: str) -> None:
    if not fits:
        raise Invalid(text)
