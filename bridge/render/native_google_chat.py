"""Where may text of an event stand in a message of Google Chat, and how is it written there?

A widget's text and a section's header are HTML of a few tags: there it is escaped, and a link of the template's leads
to an address or is its words. `text` has marks, ``<address|words>`` and mentions: those are the rule's, so that none of
a template's is kept. Everywhere else nothing is read.

https://developers.google.com/workspace/chat/format-messages
"""

from __future__ import annotations

import html
import re

from bridge.codec import web_url
from bridge.render.foreign import HIDDEN, reveal
from bridge.render.native_text import JOINER, Json, placed, quiet, shown, target

_ADDRESSES = frozenset({"url", "imageUrl", "iconUrl"})
_HREF = re.compile(r"""<a\s+href=(["'])(?P<target>.*?)\1\s*>(?P<label>.*?)</a>""", re.DOTALL | re.IGNORECASE)
_CHARACTERS = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "’",
    "\n": " ",
    "\t": " ",
}  # it knows no &#39;
_ANGLE = re.compile(r"<(?P<target>[^<>|\n]*)\|(?P<label>[^<>\n]*)>")


def google_chat(tree: Json, url: str | None) -> Json:
    """Return a filled message with each text written for its place."""
    card = {key: value for key, value in tree.items() if key != "text"}
    text = tree.get("text")
    return (placed(card, _written, _ADDRESSES, url) or {}) | ({"text": _marks(text)} if isinstance(text, str) else {})


def _written(text: str, key: str, parent: Json) -> str:
    if (key == "text" and "onClick" not in parent) or (key == "header" and "widgets" in parent):
        return _html(text)
    return shown(text)


def _html(text: str) -> str:
    return _escaped(_HREF.sub(_linked, text))


def _linked(found: re.Match[str]) -> str:
    address = web_url(html.unescape(reveal(found["target"])))
    if not address:
        return found["label"]
    return f'<a href="{html.escape(target(address), quote=False)}">{found["label"]}</a>'


def _escaped(text: str) -> str:
    return HIDDEN.sub(lambda found: _CHARACTERS.get(reveal(found[0]), reveal(found[0])), text)


def _marks(text: str) -> str:
    parts = []
    end = 0
    for found in _ANGLE.finditer(text):
        address = web_url(reveal(found["target"]))
        label = quiet(found["label"])
        parts += [_quiet(text[end : found.start()]), f"<{target(address)}|{label}>" if address else label]
        end = found.end()
    return "".join([*parts, _quiet(text[end:])])


def _quiet(text: str) -> str:
    return re.sub(r"<(?=\s*users\s*/)", f"<{JOINER}", quiet(text))
