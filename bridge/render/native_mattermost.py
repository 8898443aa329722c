"""Where may text of an event stand in a post of Mattermost, and how is it written there?

Markdown, mentions and bare addresses are found in nearly every text of an attachment, by one program or another: so
each is written as if they were. An incoming webhook also reads Slack's ``<!channel>`` and ``<address|text>``, of a
template too.

https://developers.mattermost.com/integrate/reference/message-attachments/
"""

from __future__ import annotations

from bridge.render.native_text import JOINER, Json, marked, placed

_ADDRESSES = frozenset({"title_link", "author_link", "author_icon", "image_url", "thumb_url", "footer_icon"})


def mattermost(tree: Json, url: str | None) -> Json:
    """Return a filled post with each text written for its place."""
    return placed(tree, _written, _ADDRESSES, url) or {}


def _written(text: str, key: str, parent: Json) -> str:
    return text if key == "color" else marked(text).replace("<", f"<{JOINER}")
