"""Bubbles to try the page with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bridge.event import Status
from bridge.message import Bullets, Button, Code, Heading, Message, Paragraph, Quote, Span
from bridge.web import Bubble
from tests.altered import replace

AT = datetime(2026, 11, 5, 14, 3, tzinfo=UTC)
RUN = "https://ci.example.com/acme/app/runs/41"


def message(title: str = "CI broke on main", **changes: Any) -> Message:
    known = Message(title=(Span(title, bold=True, link=RUN),), status=Status.FAILURE, colour="#cf222e", emoji="🔴")
    return replace(known, **changes)


def bubble(key: str = "run 41", said: Message | None = None, **changes: Any) -> Bubble:
    known = Bubble(
        key=key,
        destination="builds",
        integration="slack",
        message=said or message(),
        posted_at=AT,
        changed_at=AT,
        edits=0,
        thread=False,
        event_id="evt_1",
        delivery_id="dlv_1",
        repository="acme/app",
        rules=("main is broken or fixed",),
    )
    return replace(known, **changes)


def everywhere(text: str) -> Bubble:
    """A bubble that says `text` in every place that a stranger's text can reach, and in those that it cannot."""
    spans = (Span(text), Span(text, bold=True, italic=True, strike=True, code=True), Span(text, link=text))
    said = Message(
        title=spans,
        body=(Paragraph(spans), Heading(spans), Bullets((spans,)), Bullets((spans,), True), Quote(spans), Code(text)),
        facts=((text, spans),),
        footer=spans,
        buttons=(Button(text, text), Button(text, RUN)),
        mentions=(text,),
        colour=text,
        emoji=text,
    )
    names = {"destination": text, "integration": text, "event_id": text, "delivery_id": text, "repository": text}
    return bubble(text, said, rules=(text,), **names)
