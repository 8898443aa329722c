"""What does the page look like? Bubbles in, HTML out.

Every text is escaped by Jinja or markupsafe, and only `Span.link` and `Button.url` become links, when they are web
addresses. There is no inline script or style, so that the Content-Security-Policy can forbid both: the colour of a
message is an SVG attribute, which is no style. Pure: never looks at the clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from bridge.codec import web_url
from bridge.message import Bullets, Code, Heading, Message, Paragraph, Quote, Span, Spans, text_of
from bridge.store.base import Mute
from bridge.units import span as span_of
from bridge.web.feed import Bubble

HERE = Path(__file__).parent
STATIC = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}
# Part of the static files' addresses, so that a browser keeps them for ever and still sees the next version.
VERSION = hashlib.sha256(b"".join(STATIC.values())).hexdigest()[:12]

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")


def home(
    bubbles: Iterable[Bubble], now: datetime, *, title: str, logout: bool, mutes: Sequence[Mute] | None = ()
) -> str:
    """Return the whole page, the newest bubble of each destination last. `mutes` None: they are not known now."""
    channels: dict[str, list[Bubble]] = {}
    for bubble in bubbles:
        channels.setdefault(channel(bubble), []).append(bubble)
    return _render("home.html.j2", title=title, channels=channels, now=now, logout=logout, mutes=mutes)


def update(bubble: Bubble, now: datetime) -> str:
    """Return the bubble in a column of its own: the script takes what the page lacks."""
    return _render("channel.html.j2", id=channel(bubble), bubbles=[bubble], now=now)


def form(*, title: str, wrong: bool) -> str:
    """Return the page that asks for the token."""
    return _render("login.html.j2", title=title, wrong=wrong)


def channel(bubble: Bubble) -> str:
    """Return the id of the column that shows `bubble`."""
    return "c-" + _digest(f"{bubble.destination}\n{bubble.integration}")


def ago(then: datetime, now: datetime) -> str:
    """How long before `now`, in the largest unit: ``2 min ago``. ``bridge.js`` says it in the same words."""
    seconds = int((now - then).total_seconds())
    unit = next((unit for unit in (86_400, 3_600, 60) if seconds >= unit), None)
    return f"{span_of(timedelta(seconds=seconds - seconds % unit))} ago" if unit else "just now"


def until(mute: Mute, now: datetime) -> str:
    """When a mute ends: ``until 2026-11-05 14:03 UTC, in 2 h``."""
    return f"until {mute.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC, in {span_of(mute.until - now)}"


def words(spans: Spans) -> Markup:
    return Markup().join(_word(span) for span in spans)


def _word(span: Span) -> Markup:
    text = escape(span.text)
    for on, tag in ((span.code, "code"), (span.strike, "s"), (span.italic, "em"), (span.bold, "strong")):
        if on:
            text = Markup("<{0}>{1}</{0}>").format(tag, text)
    link = web_url(span.link)
    if link:
        return _link(link, text)
    return Markup("<span>{}</span>").format(text)


def _link(url: str, text: str) -> Markup:
    rel = "noopener noreferrer nofollow"
    return Markup('<a href="{}" target="_blank" rel="{}">{}</a>').format(url, rel, text)


def _button(url: str, text: str) -> Markup:
    address = web_url(url)
    return _link(address, text) if address else Markup()


def _body(message: Message) -> Markup:
    return Markup("\n").join(_block(block) for block in message.body)


def _block(block: Paragraph | Heading | Bullets | Quote | Code) -> Markup:
    match block:
        case Paragraph():
            return Markup("<p>{}</p>").format(words(block.spans))
        case Heading():
            return Markup("<h4>{}</h4>").format(words(block.spans))
        case Quote():
            return Markup("<blockquote>{}</blockquote>").format(words(block.spans))
        case Code():
            return Markup("<pre>\n{}</pre>").format(block.text)  # the parser drops the first newline of a <pre>
        case Bullets():
            items = Markup().join(Markup("<li>{}</li>").format(words(item)) for item in block.items)
            return Markup("<{0}>{1}</{0}>").format("ol" if block.ordered else "ul", items)


def _sign(message: Message) -> str:
    """The message's emoji, unless its title begins with it already."""
    return "" if text_of(message.title).lstrip().startswith(message.emoji) else message.emoji


def _colour(message: Message) -> str:
    return message.colour if _COLOUR.fullmatch(message.colour) else "#8b949e"


def _state(bubble: Bubble) -> str:
    """The same for the same state, so that the script leaves alone what it has already."""
    return f"{bubble.edits} {bubble.changed_at.isoformat()}"


def _digest(key: str) -> str:
    """A key as an id: keys may hold anything."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals.update(version=VERSION, button=_button)
_environment.filters.update(
    ago=ago,
    body=_body,
    clock=_clock,
    colour=_colour,
    count=_count,
    digest=_digest,
    sign=_sign,
    state=_state,
    until=until,
    words=words,
)


def _render(name: str, **names: object) -> str:
    text = _environment.get_template(name).render(**names)
    return text.encode("utf-8", "replace").decode()  # half a character of a stranger's text ends no page
