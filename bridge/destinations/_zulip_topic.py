"""In which topic is an event told? A Jinja template says, over the names that message templates have.

A topic is plain text of one line, at most 60 characters; nothing is read in it. What a template cannot say of an event
is told in the topic of its repository. Never looks at a message.

https://zulip.com/help/introduction-to-topics
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from bridge.destinations._markdown import one_line
from bridge.errors import TemplateError
from bridge.event import Event
from bridge.message import shorten
from bridge.render import View
from bridge.render.foreign import reveal
from bridge.render.samples import views
from bridge.render.sandbox import Environment, check, fault, take
from bridge.render.view import context

LONGEST = 60
USUAL = (
    "{{ repository or 'builds' }}"
    "{% if pull_request_name %} · {{ pull_request_name }}{% elif branch or tag %} · {{ branch or tag }}{% endif %}"
)
_NAME = "topic"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def problem(template: str) -> str:
    """Return what is wrong with a template for topics; nothing when it can tell every kind of event."""
    sources = {_NAME: template}
    faults = check(Environment(sources, {}), sources, frozenset(context(next(views()))))[_NAME]
    if faults:
        return faults[0].text
    try:
        for view in views():
            _written(template, view)
    except TemplateError as error:
        return str(error)
    return ""


def topic(template: str, event: Event | None) -> str:
    """Return the topic of an event."""
    if event is None:
        return "builds"
    try:
        said = _written(template, View(event=event, tasks=event.tasks, now=event.received_at or _LONG_AGO))
    except TemplateError:
        said = event.repository or ""
    return shorten(one_line(said), LONGEST) or "builds"


@lru_cache(maxsize=50)
def _environment(template: str) -> Environment:
    return Environment({_NAME: template}, {})


def _written(template: str, view: View) -> str:
    """Return what a template says, raise TemplateError."""
    try:
        ready = _environment(template).get_template(_NAME)
        return reveal(take(ready.root_render_func(ready.new_context(context(view)))))
    except Exception as error:
        raise fault(_NAME, error) from error
