"""Would every rule's message come out? Renders each with sample events, sends nothing.

A template that fails on one of them is a problem at its line; so is a message that a destination cannot put into its
own form.
"""

from __future__ import annotations

from collections.abc import Iterator

from bridge.config.model import Config, DestinationConfig
from bridge.config.templates import shown
from bridge.destinations import DESTINATIONS
from bridge.errors import Problem, TemplateError
from bridge.render import Renderer, View
from bridge.render.samples import views
from bridge.route import DEFAULT_TEMPLATE, HEARD_UNASKED, Rule


def trial(config: Config) -> list[Problem]:
    """Return what is wrong with the templates and with what the rules make of them."""
    renderer = Renderer(config.templates)
    problems = [
        Problem(shown(config.file, problem.name), problem.line, 1, "", problem.text) for problem in renderer.problems()
    ]
    if problems:
        return problems
    return [problem for rule in config.rules for problem in _tried(config, renderer, rule)]


def _tried(config: Config, renderer: Renderer, rule: Rule) -> Iterator[Problem]:
    for goal in rule.to:
        destination = config.destinations[goal.destination]
        for view in views():
            if not rule.names_kind and view.event.kind not in HEARD_UNASKED:
                continue
            fault = _fault(renderer, destination, goal.template or DEFAULT_TEMPLATE[view.event.kind], view)
            if fault:
                yield Problem(config.file, config.rule_lines.get(rule.name, 1), 1, rule.name, fault)
                break


def _fault(renderer: Renderer, destination: DestinationConfig, template: str, view: View) -> str:
    try:
        message = renderer.render(template, view, destination.type)
        DESTINATIONS[destination.type].payload(message, destination.options)
    except TemplateError as error:
        return str(error)
    return ""
