"""What does a channel look like? Draws docs/messages.png: made-up events, through the shipped templates and the Slack
destination, drawn from the very JSON that would be sent, as Slack draws it.

Only what that JSON may hold is known here: an element that is not stops the drawing, so that the picture never shows
less than what is sent. Needs chromium, and nothing from any network.

    python -m tools.picture
    https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from bridge.destinations import slack
from bridge.event import Change, Event, Kind, RunRef, Status, Task
from bridge.render import Renderer, View
from tools.screen import MEASURE, draw

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "messages.png"
WIDTH, SCALE = 600, 2
LIMIT = 200_000  # bytes: the README is read on phones, too

NOW = datetime(2026, 11, 5, 14, 31, tzinfo=UTC)
REPOSITORY = "https://github.com/acme/app"
PEOPLE = {"U024BE7LH": "octocat"}

Json = dict[str, Any]


# -- what happened


@dataclass(frozen=True)
class Post:
    """One message in the channel. `edited`: the chat says that it was."""

    view: View
    edited: bool = False


def _task(name: str, status: Status, **more: Any) -> Task:
    return Task(id=name, name=name, status=status, url=f"{REPOSITORY}/actions/runs/1841/job/{len(name)}", **more)


def _event(**changes: Any) -> Event:
    number = changes.pop("number")
    known = Event(
        source="github",
        type="github",
        kind=Kind.PIPELINE,
        repository="acme/app",
        repository_url=REPOSITORY,
        branch="main",
        pipeline="CI",
        run=RunRef(id=str(number), number=number, attempt=1, url=f"{REPOSITORY}/actions/runs/{number}"),
        url=f"{REPOSITORY}/actions/runs/{number}",
    )
    return known.with_(**changes)


def posts() -> tuple[Post, ...]:
    """A morning: main breaks, a pull request runs, main is fixed."""
    broken = _event(
        number=1841,
        status=Status.FAILURE,
        change=Change.BROKEN,
        failures=1,
        sha="9a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        title="Read settings from the environment",
        author="octocat",
        duration=134.0,
    )
    running = _event(
        number=1842,
        status=Status.RUNNING,
        branch="faster-cache",
        pull_request=128,
        sha="3f9c1d7e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39",
        title="Cache the dependency graph",
        author="hubot",
    )
    fixed = _event(
        number=1843,
        status=Status.SUCCESS,
        change=Change.FIXED,
        failures=1,
        failing_since=NOW - timedelta(minutes=24),
        sha="51e0f7a2b3c4d5e6f708192a3b4c5d6e7f809102",
        title="Take an empty setting for none",
        author="octocat",
        duration=119.0,
    )
    failed = (
        _task("lint", Status.SUCCESS),
        _task("test (3.11)", Status.FAILURE, step="Run pytest", note="2 tests failed"),
        _task("test (3.13)", Status.FAILURE, step="Run pytest", note="2 tests failed"),
    )
    states = (Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.RUNNING, Status.QUEUED)
    names = ("lint", "types", "test (3.11)", "test (3.13)", "package")
    under_way = tuple(_task(name, status) for name, status in zip(names, states, strict=True))
    return (
        Post(View(event=broken, tasks=failed, mentions=("U024BE7LH",), now=NOW - timedelta(minutes=24))),
        Post(View(event=running, tasks=under_way, live=True, now=NOW - timedelta(minutes=3)), edited=True),
        Post(View(event=fixed, tasks=(), now=NOW)),
    )


def payloads() -> Iterator[tuple[Post, Json]]:
    """Yield each post with the JSON that Slack would get."""
    folder = ROOT / "templates"
    renderer = Renderer({path.name: path.read_text("utf-8") for path in folder.glob("*.md.j2")})
    options = slack.Options.model_validate({"token": "xoxb-none", "channel": "#builds"})
    for post in posts():
        yield post, slack.payload(renderer.render("run", post.view, "slack"), options)


# -- how Slack draws it


def _each(parts: Iterable[Json]) -> Markup:
    return Markup().join(_element(part) for part in parts)


def _tag(name: str, inner: Markup | str, kind: str = "") -> Markup:
    return Markup('<{0} class="{1}">{2}</{0}>').format(name, kind, inner)


def _element(part: Json) -> Markup:
    """Draw a block, or a piece of one."""
    match part["type"]:
        case "text" | "plain_text":
            return _styled(part)
        case "link":
            return _tag("a", _styled(part))
        case "user":
            return _tag("b", "@" + PEOPLE[part["user_id"]], "person")
        case "rich_text":
            return _tag("div", _each(part["elements"]), "rich")
        case "rich_text_section":
            return _tag("p", _each(part["elements"]))
        case "rich_text_quote":
            return _tag("blockquote", _each(part["elements"]))
        case "rich_text_preformatted":
            return _tag("pre", _each(part["elements"]))
        case "rich_text_list":
            items = Markup().join(_tag("li", _each(item["elements"])) for item in part["elements"])
            return _tag("ol" if part["style"] == "ordered" else "ul", items)
        case "context":
            return _tag("div", Markup().join(_tag("span", _element(one)) for one in part["elements"]), "context")
        case "actions":
            return _tag("div", _each(part["elements"]), "actions")
        case "button":
            return _tag("span", part["text"]["text"], "button")
        case unknown:
            raise ValueError(f"no drawing for {unknown}: teach tools/picture.py what Slack makes of it")


def _styled(part: Json) -> Markup:
    drawn = escape(part["text"])
    for style, name in (("code", "code"), ("strike", "s"), ("italic", "i"), ("bold", "b")):
        if part.get("style", {}).get(style):
            drawn = _tag(name, drawn)
    return drawn


def _attachment(one: Json) -> Markup:
    frame = Markup('<div class="attachment"><div class="bar" style="background:{}"></div><div>{}</div></div>')
    return frame.format(one["color"], _each(one["blocks"]))


def _message(post: Post, payload: Json) -> Markup:
    below = Markup().join(_attachment(one) for one in payload.get("attachments", ()))
    edited = Markup('<small class="edited">(edited)</small>') if post.edited else ""
    frame = Markup(
        '<article><div class="face">{face}</div><div><header><b>bridge</b><small class="app">APP</small>'
        "<small>{at:%H:%M}</small></header>{said}{edited}{below}</div></article>"
    )
    face = Markup((ROOT / "bridge/web/static/bridge.svg").read_text("utf-8"))  # noqa: S704 - our own file
    return frame.format(face=face, at=post.view.now, said=_each(payload["blocks"]), edited=edited, below=below)


STYLE = """
* { box-sizing: border-box; margin: 0 }
body { background: #fff; padding-bottom: 14px; color: #1d1c1d; font: 15px/1.46668 Lato, "Noto Color Emoji", sans-serif }
.channel { padding: 12px 20px; border-bottom: 1px solid #e2e2e3; font-size: 18px; font-weight: 900 }
.channel small { font-weight: 400; font-size: 13px; color: #616061; margin-left: 8px }
article { display: flex; gap: 8px; padding: 10px 20px 6px }
article > div:last-child { flex: 1; min-width: 0 }
.face { flex: none; width: 36px; height: 36px; border-radius: 8px; background: #e8f0fe; padding: 5px; margin-top: 3px }
header { display: flex; gap: 6px; align-items: center; line-height: 1.4 }
header b { font-weight: 900 }
small { font-size: 12px; color: #616061 }
.app { font-size: 10px; font-weight: 700; background: #e8e8e8; border-radius: 2px; padding: 0 3px; line-height: 14px }
.edited { display: inline; margin-left: 4px; font-size: 13px }
article > div > .rich { display: inline-block }
a { color: #1264a3 }
b { font-weight: 700 }
p { white-space: pre-wrap }
ul, ol { padding-left: 26px }
blockquote { border-left: 4px solid #ddd; padding-left: 12px; white-space: pre-wrap }
pre, code { font: 12px/1.5 Menlo, "DejaVu Sans Mono", monospace; background: #f8f8f8; border: 1px solid #e1e1e2 }
pre { padding: 8px; border-radius: 4px; white-space: pre-wrap }
code { color: #c01343; padding: 2px 3px 1px; border-radius: 3px }
.person { color: #1264a3; background: #e3f2fa; border-radius: 3px; padding: 0 2px 1px; font-weight: 400 }
.attachment { display: flex; gap: 12px; margin-top: 4px }
.attachment > div:last-child { flex: 1; padding: 2px 0 4px }
.attachment > div > * + * { margin-top: 8px }
.bar { width: 4px; border-radius: 8px; flex: none }
.context { display: flex; flex-wrap: wrap; gap: 2px 8px; font-size: 13px; color: #616061 }
.actions { display: flex; gap: 8px }
.button { border: 1px solid #bbbabb; border-radius: 8px; font-size: 13px; font-weight: 700; padding: 3px 11px 4px }
"""

PAGE = Markup(
    '<!doctype html><meta charset="utf-8"><title></title><style>{style}</style><body>'
    '<div class="channel"># builds<small>one message per run, edited as it goes on</small></div>{messages}'
)


def page() -> str:
    """Return the channel as HTML."""
    messages = Markup().join(_message(post, payload) for post, payload in payloads())
    return str(PAGE.format(style=Markup(STYLE), messages=messages)) + MEASURE  # noqa: S704 - our own constant


if __name__ == "__main__":
    draw(page(), PICTURE, width=WIDTH, scale=SCALE, limit=LIMIT)
