"""Would every rule's message come out? Renders each with sample events, sends nothing.

A template that fails on one of them is a problem at its line; so is a message that a destination cannot put into its
own form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from bridge.config.model import Config, DestinationConfig
from bridge.config.templates import shipped, shown
from bridge.destinations import DESTINATIONS
from bridge.errors import Problem, TemplateError
from bridge.event import Change, Event, Kind, Status
from bridge.message import DEFAULT_TEMPLATE
from bridge.render import Renderer, View
from bridge.render.samples import full
from bridge.route import HEARD_UNASKED, Rule

_SAMPLES = ((Status.FAILURE, Change.BROKEN), (Status.SUCCESS, Change.FIXED), (Status.RUNNING, None))


def trial(config: Config) -> list[Problem]:
    """Return what is wrong with the operator's templates, and with what the rules make of all templates.

    The operator's are tried with every kind of event in every state. The shipped ones are tried so by the project's
    own tests, and here only as the rules use them: all of it would take a second each time.
    """
    renderer = Renderer(config.templates)
    if config.templates != shipped():
        found = renderer.problems()
        if found:
            return [Problem(shown(config.file, one.name), one.line, 1, "", one.text) for one in found]
    tried: set[tuple[str, str, Kind]] = set()
    return [problem for i in range(len(config.rules)) for problem in _tried(config, renderer, i, tried)]


def _tried(config: Config, renderer: Renderer, i: int, tried: set[tuple[str, str, Kind]]) -> Iterator[Problem]:
    """Yield at most one problem for each kind of event and destination of the rule."""
    rule = config.rules[i]
    for goal, kind in itertools.product(rule.to, filter(_heard_by(rule), Kind)):
        destination = config.destinations[goal.destination]
        template = goal.template or DEFAULT_TEMPLATE[kind]
        if (template, destination.name, kind) in tried:
            continue
        tried.add((template, destination.name, kind))
        samples = (full(kind, status, change) for status, change in _SAMPLES)
        faults = (_fault(renderer, destination, template, view) for view in samples)
        fault = next(filter(None, faults), "")
        if fault:
            yield Problem(*_place(config, rule), 1, f"rules.{_number(config, rule)}", fault)


def _place(config: Config, rule: Rule) -> tuple[str, int]:
    return config.rule_files.get(rule.name, config.file), config.rule_lines.get(rule.name, 1)


def _number(config: Config, rule: Rule) -> int:
    """Return the place of a rule among those of its file, from 0."""
    file, _ = _place(config, rule)
    return [one.name for one in config.rules if _place(config, one)[0] == file].index(rule.name)


def _heard_by(rule: Rule) -> Callable[[Kind], bool]:
    """Return whether a rule can match events of a kind."""
    asked = [one for one in rule.conditions if one.key == "kind"]

    def hears(kind: Kind) -> bool:
        if kind is Kind.DIGEST or rule.digest is not None:
            return kind is Kind.DIGEST and rule.digest is not None
        event = Event(source="", type="", kind=kind)
        return all(one.holds(event) for one in asked) if asked else kind in HEARD_UNASKED

    return hears


def _fault(renderer: Renderer, destination: DestinationConfig, template: str, view: View) -> str:
    try:
        message = renderer.render(template, view, destination.type)
        DESTINATIONS[destination.type].payload(message, destination.options)
    except TemplateError as error:
        return str(error)
    return ""
