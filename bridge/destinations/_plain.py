"""How does a message read where nothing but plain text is known to be understood?

One line per thing, in the order of the tree; what was a link is its words, and the buttons' addresses come last. Never
escapes: whoever hands the text on knows what it means there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.codec import web_url
from bridge.message import Block, Bullets, Code, Message, Quote, Spans, text_of

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def tidy(text: str) -> str:
    """Return `text` without what cannot be seen and would drive a screen, a database or an encoder mad."""
    return CONTROL.sub("", text.replace("\r\n", "\n"))


def title(message: Message) -> str:
    """Return the title on one line."""
    return " ".join(tidy(text_of(message.title)).split())


def lines(message: Message) -> Iterator[str]:
    """Yield what follows the title, without the addresses. A line may hold line breaks of its own."""
    for block in message.body:
        yield from _block(block)
    for label, value in message.facts:
        said = _said(value)
        yield f"{tidy(label)}: {said}" if label and said else said
    yield _said(message.footer)


def links(message: Message) -> Iterator[str]:
    """Yield the buttons, each with its address."""
    for button in message.buttons:
        if address := web_url(button.url):
            yield f"{tidy(button.text)}: {address}"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Bullets():
            for number, item in enumerate(block.items, 1):
                yield (f"{number}. " if block.ordered else "• ") + _said(item)
        case Quote():
            yield "│ " + _said(block.spans).replace("\n", "\n│ ")
        case Code():
            yield tidy(block.text).rstrip()
        case _:
            yield _said(block.spans)


def _said(spans: Spans) -> str:
    return tidy(text_of(spans)).strip()
