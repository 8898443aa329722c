"""What does a message look like in each chat? Draws docs/destinations/*.png from what bridge sends in its tests.

Two messages: a run that is under way and one that broke, as `tests/destinations/TYPE/*.json` has them. What a chat
makes of that JSON is read by `bridge.preview`, the same that `bridge explain` prints; only its look is drawn here, with
`pictures.css`. A mail is its own HTML, a terminal its own colours. Needs chromium, and nothing from any network.

    python -m tools.pictures [TYPE ...]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from bridge.destinations import DESTINATIONS
from bridge.preview import READERS, Line, Part, Piece
from tools.screen import MEASURE, draw

ROOT = Path(__file__).resolve().parents[1]
SENT = ROOT / "tests" / "destinations"
PICTURES = ROOT / "docs" / "destinations"
WIDTH, SCALE, COLOURS = 400, 1.5, 64
LIMIT = 40_000  # bytes: a page is read on phones, too

RUNS = {"run-live": "14:01", "run-broken": "14:03"}


@dataclass(frozen=True)
class Look:
    """A chat's words: where the message is, that a program wrote it, and that it was edited."""

    place: str = ""
    app: str = ""
    edited: str = ""


LOOKS = {
    "apprise": Look("Notifications"),
    "console": Look("$ bridge demo"),
    "discord": Look("# builds", "APP", "(edited)"),
    "email": Look("Inbox"),
    "google_chat": Look("Builds", "APP"),
    "matrix": Look("builds", "", "(edited)"),
    "mattermost": Look("~ builds", "BOT", "Edited"),
    "rocketchat": Look("# builds", "Bot", "(edited)"),
    "slack": Look("# builds", "APP", "(edited)"),
    "teams": Look("Builds", "Workflows"),
    "telegram": Look("Builds", "", "edited"),
    "webex": Look("Builds", "bot", "Edited"),
    "webhook": Look("POST, what the receiver gets"),
    "zulip": Look("", "bot", "EDITED"),
}


# -- what a chat shows


def _piece(one: Piece) -> Markup:
    drawn = escape(one.text)
    for name, on in (("code", one.code), ("s", one.strike), ("i", one.italic), ("b", one.bold)):
        drawn = Markup("<{0}>{1}</{0}>").format(name, drawn) if on else drawn
    if one.calls:
        return Markup('<span class="call">{}</span>').format(drawn)
    if one.link:
        drawn = Markup("<a href='#'>{}</a>").format(drawn)
    return Markup('<span style="color:{}">{}</span>').format(one.colour, drawn) if one.colour else drawn


def _line(line: Line) -> Markup:
    if line.kind == "buttons":
        inner = Markup().join(Markup('<span class="box">{}</span>').format(one.text) for one in line.pieces)
    else:
        mark = f"{line.mark}  " if line.mark else ""
        inner = escape(mark) + Markup().join(map(_piece, line.pieces))
    return Markup('<div class="line {}">{}</div>').format(line.kind, inner)


def _part(part: Part) -> Markup:
    kinds = ["part"]
    kinds += ["bar"] if part.colour else []
    kinds += ["keys"] if _is_keys(part) else []
    kinds += ["card"] if part.tint == "card" else ["tint", part.tint] if part.tint else []
    frame = Markup('<div class="{}" style="--bar:{}">{}</div>')
    return frame.format(" ".join(kinds), part.colour or "", Markup().join(map(_line, part.lines)))


# -- what is no chat


def _mail(body: dict[str, Any]) -> Markup:
    to = ", ".join(body["to"])
    frame = Markup('<div class="mail"><div class="head"><b>{}</b></div><div class="who">{} → {}, {}</div>{}</div>')
    return frame.format(body["subject"], body["from"].split(" <")[0], to, ", ".join(body["cc"]), Markup(body["html"]))  # noqa: S704


ANSI = {"1": "font-weight:700", "2": "color:#6e7781", "3": "font-style:italic", "9": "text-decoration:line-through"}


def _terminal(text: str) -> Markup:
    """A terminal's colours as HTML: the few that bridge prints."""
    drawn = Markup()
    style: list[str] = []
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        codes = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if codes is None:
            drawn += Markup('<span style="{}">{}</span>').format(";".join(style), part)
        elif codes[1] == "0":
            style = []
        elif codes[1].startswith("38;2;"):
            style = [f"color:rgb({codes[1][5:].replace(';', ',')})"]
        else:
            known = {
                "1": "font-weight:700",
                "2": "color:#6e7781",
                "3": "font-style:italic",
                "9": "text-decoration:line-through",
            }
            style = [known[one] for one in codes[1].split(";")]
    return Markup('<div class="term">{}</div>').format(drawn)


def _shown(kind: str, body: dict[str, Any]) -> Markup:
    if kind == "email":
        return _mail(body)
    if kind == "console":
        return _terminal(body["text"])
    if kind == "webhook":
        body = _shorter(body)
    parts = READERS[kind](body, lambda one: "octocat")
    keys = Markup().join(_part(one) for one in parts if _is_keys(one))
    rest = Markup().join(_part(one) for one in parts if not _is_keys(one))
    match kind:
        case "telegram" | "apprise":  # the buttons stand below the bubble
            return Markup('<div class="bubble">{}</div>{}').format(rest, keys)
        case "teams":
            return Markup('<div class="card">{}{}</div>').format(rest, keys)
    return rest + keys


def _is_keys(part: Part) -> bool:
    return bool(part.lines) and all(line.kind == "buttons" for line in part.lines)


def _shorter(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a program gets with the first of its fields: the page has a table of them all."""
    first = dict(list(body["data"].items())[:8])
    return body | {
        "data": first | {"…": f"{len(body['data']) - 10} more", **{k: body["data"][k] for k in ("tasks", "text")}}
    }


# -- the page


def _message(kind: str, run: str) -> Markup:
    look = LOOKS[kind]
    body = json.loads((SENT / kind / f"{run}.json").read_text("utf-8"))
    app = Markup('<small class="app">{}</small>').format(look.app) if look.app else ""
    edited = Markup('<span class="edited">{}</span>').format(look.edited) if look.edited and run == "run-live" else ""
    face = Markup((ROOT / "bridge/web/static/bridge.svg").read_text("utf-8"))  # noqa: S704 - our own file
    frame = Markup(
        '<article class="message"><div class="face">{face}</div>'
        "<div><header><b>bridge</b>{app}<small>{at}</small>{edited}</header>{shown}</div></article>"
    )
    return frame.format(face=face, app=app, at=RUNS[run], edited=edited, shown=_shown(kind, body))


def page(kind: str) -> str:
    """Return one chat as HTML."""
    runs: Iterable[str] = ["run-broken"] if kind == "webhook" else RUNS  # a program's is long
    place = Markup('<div class="place">{}</div>').format(LOOKS[kind].place) if LOOKS[kind].place else ""
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    body = Markup().join(_message(kind, run) for run in runs)
    # The browser's window is never narrower than 500, when it only measures.
    head = f'<!doctype html><meta charset="utf-8"><title></title><style>{style}body {{ width: {WIDTH}px }}</style>'
    return f'{head}<body class="{kind}">{place}{body}{MEASURE}'


if __name__ == "__main__":
    for chat in sys.argv[1:] or DESTINATIONS:
        draw(page(chat), PICTURES / f"{chat}.png", width=WIDTH, scale=SCALE, limit=LIMIT, colours=COLOURS)
