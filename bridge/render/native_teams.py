"""Where may text of an event stand in an Adaptive Card of Teams, and how is it written there?

A text block and a fact are Markdown; in a text run, a title and all else nothing is read but ``<at>`` and ``{{DATE}}``.
The destination takes these out of the template's words, too: a name that no entity explains makes the card fail unseen.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
"""

from __future__ import annotations

from bridge.render.native_text import Json, marked, placed, shown

_ADDRESSES = frozenset({"url", "iconUrl", "backgroundImage"})


def teams(tree: Json, url: str | None) -> Json:
    """Return a filled card, or a message with one, with each text written for its place."""
    return placed(tree, _written, _ADDRESSES, url) or {}


def _written(text: str, key: str, parent: Json) -> str:
    of_block = parent.get("type") == "TextBlock" and key == "text"
    of_fact = "type" not in parent and key in ("title", "value")
    return marked(text) if of_block or of_fact else shown(text)
