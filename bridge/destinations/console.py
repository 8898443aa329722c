"""The terminal: prints each message, for `bridge demo`, `bridge explain` and a first look without any account.

What an event said is shown with its control characters made visible, so that it cannot drive the terminal. Colour only
on a terminal and without NO_COLOR (https://no-color.org). Never fails but for an output that is gone.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from msgspec.structs import replace

from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt
from bridge.errors import Transient
from bridge.message import Block, Bullets, Code, Heading, Message, Quote, Spans
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "console"
PERSON = "console"

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_RESET = "\033[0m"


class Options(DestinationOptions):
    """Nothing to set."""

    def refuses(self, channel: str) -> None:
        """Any name is printed."""


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the message as JSON: what `--json` shows."""
    shown = msgspec.to_builtins(replace(message, event=None))
    return {key: value for key, value in shown.items() if value not in (None, [], "", {})}


# -- how a message looks


def text(message: Message, *, colour: bool) -> str:
    """Return the message in lines, its stripe on the left in its colour."""
    bar = (shaded("▌", message.colour) if colour else "▌") + " "
    lines = [_line(message.title, colour=colour, bold=True)]
    if message.mentions:
        lines[0] += " " + " ".join("@" + visible(one) for one in message.mentions)
    for block in message.body:
        lines += _block(block, colour)
    lines += [_dim(_fact(label, value), colour) for label, value in message.facts]
    if message.footer:
        lines.append(_dim(_line(message.footer, colour=False), colour))
    lines += [_dim(f"{visible(button.text)}: {visible(button.url)}", colour) for button in message.buttons]
    return "\n".join(bar + line for whole in lines for line in whole.split("\n"))


def shaded(shown: str, colour: str) -> str:
    """Return the text in a colour, ``#rrggbb``."""
    return f"\033[38;2;{_rgb(colour)}m{shown}{_RESET}"


def _rgb(colour: str) -> str:
    digits = colour.removeprefix("#")
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        return "139;148;158"
    return ";".join(str(int(digits[start : start + 2], 16)) for start in (0, 2, 4))


def _block(block: Block, colour: bool) -> Iterator[str]:
    match block:
        case Bullets():
            for number, item in enumerate(block.items, 1):
                yield f"{number}. {_line(item, colour=colour)}" if block.ordered else f"• {_line(item, colour=colour)}"
        case Quote():
            yield "│ " + _line(block.spans, colour=colour).replace("\n", "\n│ ")
        case Code():
            yield "    " + visible(block.text).replace("\n", "\n    ")
        case Heading():
            yield _line(block.spans, colour=colour, bold=True)
        case _:
            yield _line(block.spans, colour=colour)


def _line(spans: Spans, *, colour: bool, bold: bool = False) -> str:
    return "".join(_styled(visible(one.text), colour, one.bold or bold, one.italic, one.strike) for one in spans)


def _styled(shown: str, colour: bool, bold: bool, italic: bool, strike: bool) -> str:
    codes = [code for code, wanted in (("1", bold), ("3", italic), ("9", strike)) if wanted]
    return f"\033[{';'.join(codes)}m{shown}{_RESET}" if codes and colour and shown else shown


def _fact(label: str, value: Spans) -> str:
    shown = _line(value, colour=False)
    return f"{visible(label)}: {shown}" if label else shown


def _dim(shown: str, colour: bool) -> str:
    return f"\033[2m{shown}{_RESET}" if colour else shown


def visible(value: str) -> str:
    """Return the text with control characters as signs (␛) or codes (<U+202E>)."""
    return _CONTROL.sub(lambda found: _sign(ord(found[0])), value)


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


# -- the destination


def open(name: str, options: Options, session: aiohttp.ClientSession | None) -> Console:
    """Return the destination that prints to standard output."""
    return Console(name, options)


class Console:
    """Standard output. An edit is printed as a new message with ↻ and the number of the one that it replaces."""

    can_edit = True
    can_thread = True

    def __init__(self, name: str, options: Options, stream: TextIO | None = None) -> None:
        self.name = name
        self._options = options
        self._stream = stream
        self._numbers = itertools.count(1)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        rate = self._options.rate
        return (Bucket(f"console:{self.name}", rate),) if isinstance(rate, Rate) else ()

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        number = str(next(self._numbers))
        place = f" {visible(channel)}" if channel else ""
        self._print(
            f"#{number}{place}" + (f" in the thread of #{thread['n']}" if thread and "n" in thread else ""), message
        )
        return {"n": number}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        self._print(f"↻ #{receipt.get('n', '?')}", message)
        return receipt

    async def check(self) -> Health:
        return Health(True, "prints to the terminal")

    def _print(self, head: str, message: Message) -> None:
        stream = self._stream or sys.stdout
        colour = stream.isatty() and not os.environ.get("NO_COLOR")
        whole = f"{_dim(f'{head} → {visible(self.name)}', colour)}\n{text(message, colour=colour)}\n\n"
        # A terminal that knows no emoji shows a question mark, and does not stop the message.
        shown = whole.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8")
        try:
            stream.write(shown)
            stream.flush()
        except OSError as error:
            raise Transient(f"cannot print ({type(error).__name__})") from None
