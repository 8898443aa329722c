"""What is said about an event? View and template in, `bridge.message.Message` out.

``NAME.md.j2`` is Markdown for every chat, in the blocks title, body, facts and footer; ``slack/NAME.json.j2`` is that
platform's own JSON. Templates are the operator's, what they show is a stranger's: every text of an event is hidden
before a template sees it (`bridge.render.foreign`), so that escaping cannot be forgotten.

Never reads a file, never looks at the clock, and raises nothing but TemplateError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from bridge.codec import web_url
from bridge.errors import TemplateError
from bridge.event import Event, Kind
from bridge.message import DEFAULT_TEMPLATE, Block, Button, Heading, Message, Paragraph, Span, Spans
from bridge.render import forge, markdown, native, sandbox
from bridge.render.foreign import tidy
from bridge.render.samples import views
from bridge.render.sandbox import Fault, TemplateProblem
from bridge.render.view import LOOKS, View, context, emoji

if TYPE_CHECKING:
    from jinja2.runtime import Context

__all__ = ["DEFAULT_TEMPLATE", "UNMUTED", "Renderer", "TemplateProblem", "View", "plain"]

UNMUTED = "unmuted"
"""The template of what is told when a mute is over."""

_MEANT_FOR = {name: (kind,) for kind, name in DEFAULT_TEMPLATE.items()} | {UNMUTED: (Kind.DIGEST,)}

BLOCKS = ("title", "body", "facts", "footer")

_BUTTONS = {
    Kind.PIPELINE: "Open run",
    Kind.TASK: "Open task",
    Kind.DEPLOYMENT: "Open deployment",
    Kind.PUSH: "Open changes",
    Kind.RELEASE: "Open release",
    Kind.ALERT: "Open alert",
    Kind.AUDIT: "Open page",
}


class _Parts(msgspec.Struct, frozen=True):
    """What a Markdown template says."""

    title: Spans = ()
    body: tuple[Block, ...] = ()
    facts: markdown.Facts = ()
    footer: Spans = ()


class Renderer:
    """All templates of a configuration, read and checked when first used. `sources` maps ``run.md.j2`` to its text.

    A template that replaces a shipped one may extend it by its own name: that text is ``shipped/run.md.j2``.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = dict(sources)

    @cached_property
    def _checked(self) -> tuple[sandbox.Environment, dict[str, list[TemplateProblem]]]:
        """The templates that work, and what is wrong with the others. Two threads at once make the same, twice."""
        faults: dict[str, list[TemplateProblem]] = {}
        environment = sandbox.Environment(self._sources, faults)
        faults.update(sandbox.check(environment, self._sources, frozenset(context(next(views())))))
        return environment, faults

    @property
    def _environment(self) -> sandbox.Environment:
        return self._checked[0]

    def prepare(self) -> None:
        """Do now what else the first message would wait for, a tenth of a second; from a thread, if you like."""
        try:
            self.render(DEFAULT_TEMPLATE[Kind.PIPELINE], next(views()), "")
        except TemplateError:
            pass  # it will be told, and counted, when a message needs it

    def has(self, template: str) -> bool:
        """Return whether there is a template of this name, for every chat or for one."""
        return any(name == template for name, _ in self._whole())

    def problems(self) -> list[TemplateProblem]:
        """Return what is wrong with the templates: what cannot be read, and what fails on sample events."""
        read = [problem for faults in self._checked[1].values() for problem in faults]
        failed = {(problem.name, problem.line): problem for problem in read}
        for name, platform in self._whole():
            for view in views(_MEANT_FOR.get(name, (Kind.PIPELINE, Kind.DEPLOYMENT))):
                try:
                    self.render(name, view, platform)
                except Fault as fault:
                    failed.setdefault((fault.problem.name, fault.problem.line), fault.problem)
        return sorted({*read, *failed.values()})

    def render(self, template: str, view: View, platform: str) -> Message:
        """Return what `template` says of `view`; the platform's own template goes first. Raises TemplateError."""
        own, common = f"{platform}/{template}.json.j2", f"{template}.md.j2"
        if own in self._sources and platform in native.PLATFORMS:
            message = self._common(common, view) if common in self._sources else plain(view)
            return replace(message, native=self._native(own, view, platform))
        if common not in self._sources:
            known = [name for name, _ in self._whole()]
            raise TemplateError(f"no template named '{template}'" + sandbox.did_you_mean(template, known))
        return self._common(common, view)

    def _common(self, name: str, view: View) -> Message:
        try:
            parts = self._parts(name, view)
        except Exception as error:
            raise sandbox.fault(name, error) from error
        known = plain(view)
        return replace(known, title=parts.title or known.title, body=parts.body, facts=parts.facts, footer=parts.footer)

    def _parts(self, name: str, view: View) -> _Parts:
        template = self._environment.get_template(name)
        names = template.new_context(context(view))
        # Going through the whole template once lets every {% extends %} of the chain add its blocks. Its own ones stay
        # silent meanwhile: they are asked for one by one.
        ours = {block: found for block, found in names.blocks.items() if block in BLOCKS}
        names.blocks |= {block: [_nothing] for block in ours}
        whole = sandbox.take(template.root_render_func(names))
        for block, found in ours.items():
            names.blocks[block][:1] = found
        if not any(block in names.blocks for block in BLOCKS):
            return _untitled(markdown.blocks(whole))
        title, body, facts, footer = (
            sandbox.take(names.blocks[block][0](names)) if block in names.blocks else "" for block in BLOCKS
        )
        return _Parts(markdown.spans(title), markdown.blocks(body), markdown.facts(facts), markdown.spans(footer))

    def _native(self, name: str, view: View, platform: str) -> dict[str, Any]:
        try:
            template = self._environment.get_template(name)
            text = sandbox.take(template.root_render_func(template.new_context(context(view))))
            return native.PLATFORMS[platform](_json_object(name, text), web_url(view.event.url))
        except Exception as error:
            raise sandbox.fault(name, error) from error

    def _whole(self) -> Iterator[tuple[str, str]]:
        """Yield the templates that stand for a message, each with a platform that uses it."""
        for name in self._sources:
            platform, _, rest = name.rpartition("/")
            if not platform and name.endswith(".md.j2"):
                yield name.removesuffix(".md.j2"), ""
            elif platform in native.PLATFORMS and name.endswith(".json.j2"):
                yield rest.removesuffix(".json.j2"), platform


def _nothing(_names: Context) -> Iterator[str]:
    """A block that says nothing."""
    return iter(())


def _untitled(body: tuple[Block, ...]) -> _Parts:
    """A template without our blocks: its first paragraph is the title."""
    if not body or not isinstance(body[0], Paragraph | Heading):
        return _Parts(body=body)
    title = tuple(replace(span, text=span.text.replace("\n", " ")) for span in body[0].spans)
    return _Parts(title=title, body=body[1:])


def _json_object(name: str, text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"what it writes is no JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise Fault(TemplateProblem(name, 1, place)) from None
    if not isinstance(tree, dict):
        raise Fault(TemplateProblem(name, 1, "what it writes is no JSON object, it begins with {"))
    return tree


# -- without a template


def plain(view: View) -> Message:
    """Return the shortest message that still tells what happened. Needs no template and never fails."""
    event = view.event
    title = Span(f"{emoji(event)} {_headline(event)}", bold=True, link=web_url(event.url))
    text = tidy(event.title or "", 300) if len(view.together) < 2 else f"and {len(view.together) - 1} more"
    return Message(
        title=(title,),
        body=(Paragraph((Span(text),)),) if text else (),
        buttons=() if view.together else _buttons(event),  # of many, which?
        mentions=view.mentions,
        status=event.status,
        change=event.change,
        colour=LOOKS[event.status][1],
        emoji=emoji(event),
        event=event.with_(tasks=view.tasks) if view.tasks else event,
    )


def _headline(event: Event) -> str:
    """``CI failed on main · acme/app``, of what is known."""
    named = (event.task.name if event.task and event.kind is Kind.TASK else None) or event.pipeline or event.environment
    what = tidy(named or "", 100) or event.kind.replace("_", " ")
    said = LOOKS[event.status][2] if event.status != "unknown" else tidy(event.action or "", 40)
    ref = tidy(event.branch or event.tag or "", 100)
    where = tidy(event.repository or "", 200)
    return " ".join(part for part in (what, said, f"on {ref}" if ref else "") if part) + (
        f" · {where}" if where else ""
    )


def _buttons(event: Event) -> tuple[Button, ...]:
    request = f"Open {forge.noun(event)}"
    found = {web_url(event.url): _button(event, request)}
    if event.kind in (Kind.PIPELINE, Kind.TASK, Kind.DEPLOYMENT, Kind.PUSH) and event.action != "deleted":
        beside = forge.pull_request_url(event) or forge.commit_url(event)
        found.setdefault(beside, request if event.pull_request else "Open commit")
    return tuple(Button(text, address) for address, text in found.items() if address)


def _button(event: Event, request: str) -> str:
    if event.kind is Kind.PUSH and event.action == "deleted":
        return "Open repository"  # what was deleted has no page any more
    return _BUTTONS.get(event.kind, request)
