"""What else `bridge explain` answers for: a recorded event, one that did not happen, and the rules themselves."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _iso, _table, one_line, with_store
from bridge.config.keys import EVENT_FLAGS, EVENT_KEYS, EVENT_LISTS, EVENT_NUMBERS, EVENT_WORDS
from bridge.event import Event
from bridge.route import Goal, Rule, suggest
from bridge.units import ordinal, span

if TYPE_CHECKING:
    from bridge.config import Config
    from bridge.store.base import Store, StoredDelivery, StoredEvent

EVENT_ID = re.compile(r"e[0-9]{1,18}")
MOST_DELIVERIES = 1_000


# -- a recorded event --------------------------------------------------------------------------------------------------


def recorded(event_id: str) -> tuple[StoredEvent, list[StoredDelivery]]:
    """Return an event of the database and what was owed because of it."""

    async def find(store: Store) -> tuple[StoredEvent | None, list[StoredDelivery]]:
        found = await store.event(event_id)
        owed = await store.deliveries(limit=MOST_DELIVERIES, event_id=int(event_id[1:])) if found else []
        return found, owed[::-1]

    found, owed = with_store(find)
    if found is None:
        raise click.ClickException(f"no event is kept under {event_id}: bridge events lists what is")
    return found, owed


def as_routed_then(stored: StoredEvent, owed: list[StoredDelivery]) -> dict[str, Any]:
    """Return what was decided when the event came."""
    return {
        "id": stored.id,
        "received_at": _iso(stored.received_at),
        "state": stored.state,
        "rules": list(stored.rules),
        "deliveries": [
            {"id": one.id, "destination": one.target.destination, "channel": one.target.channel, "state": one.state}
            for one in owed
        ],
    }


def print_routed_then(then: dict[str, Any]) -> None:
    click.echo(f"when {then['id']} came, {then['received_at']}: {then['state']}")
    for name in then["rules"]:
        click.echo(f"  yes  {one_line(name)}")
    for one in then["deliveries"]:
        channel = f" in {one['channel']}" if one["channel"] else ""
        click.echo(one_line(f"  {one['id']} to {one['destination']}{channel}: {one['state']}"))
    click.echo("\nby the present rules")


# -- one that did not happen -------------------------------------------------------------------------------------------


_LISTED = {"label": "labels", "reviewer": "reviewers", "owner": "owners"}


def supposed(config: Config, texts: tuple[str, ...]) -> Event:
    """Return the event that ``repository=acme/app,branch=main,change=broken`` describes, as a test would."""
    from bridge.cli.tests import sample

    fields: dict[str, Any] = {}
    for text in texts:
        for pair in re.split(r",(?=\w+=)", text):
            key, mark, value = pair.partition("=")
            if not mark or not value:
                raise _wrong(f"'{pair}': write NAME=VALUE")
            key = _LISTED.get(key, key)
            if key in EVENT_LISTS:
                fields.setdefault(key, []).append(value)
            else:
                fields[key] = _value(config, key, value)
    return sample(config, fields).with_(received_at=datetime.now(UTC))  # now: rules have their hours


def _value(config: Config, key: str, value: str) -> Any:
    if key not in EVENT_KEYS:
        raise _wrong(f"an event has no '{key}'{suggest(key, EVENT_KEYS)}")
    if key in EVENT_WORDS and value not in EVENT_WORDS[key]:
        raise _wrong(f"'{value}' is none of {', '.join(EVENT_WORDS[key])}{suggest(value, EVENT_WORDS[key])}")
    if key in EVENT_FLAGS:
        if value not in ("true", "false"):
            raise _wrong(f"{key}: write true or false")
        return value == "true"
    if key in EVENT_NUMBERS:
        if not re.fullmatch(r"[0-9]{1,15}", value):
            raise _wrong(f"{key}: write a number")
        return int(value)
    if key == "source" and value not in config.sources:
        raise _wrong(f"no source named '{value}'{suggest(value, config.sources)}")
    return value


def _wrong(text: str) -> click.BadParameter:
    return click.BadParameter(text, param_hint="--event")


# -- the rules ---------------------------------------------------------------------------------------------------------


def draw(config: Config, *, as_json: bool) -> None:
    """Print every rule: when it speaks, where, and how."""
    if as_json:
        click.echo(json.dumps([_rule_json(rule) for rule in config.rules], ensure_ascii=False))
        return
    rows = [
        (rule.name if first else "", "; ".join(_when(rule)) if first else "", _where(goal), ", ".join(how))
        for rule in config.rules
        for first, (goal, how) in zip(chain([True], repeat(False)), _goals(rule), strict=False)
    ]
    _table(("rule", "when", "to", "how"), rows)


def _rule_json(rule: Rule) -> dict[str, Any]:
    to = [{"destination": goal.destination, "channel": goal.channel, "how": how} for goal, how in _goals(rule)]
    return {"name": rule.name, "when": _when(rule), "to": to}


def _when(rule: Rule) -> list[str]:
    said = [str(one) for one in rule.conditions]
    if rule.expression is not None:
        said.append(f"if {rule.expression.text}")
    if rule.digest is not None:
        return [f"digest {rule.digest}", *(said or ["of every run and deployment"])]
    said = said or ["everything that is heard unasked"]
    if rule.after > 1:
        said.append(f"from the {ordinal(rule.after)} failure in a row")
    if rule.hours is not None:
        said.append(f"{rule.hours}, else {rule.hours.outside}")
    return [*said, "flaky: ignore"] if rule.ignores_flaky else said


def _goals(rule: Rule) -> list[tuple[Goal, list[str]]]:
    """Return where a rule sends to, and how; also when nobody mends what it told."""
    told = [(goal, _how(rule, goal)) for goal in rule.to]
    if rule.escalate is None:
        return told
    late = f"after {_span(rule.escalate.after)} if it still fails"
    named = ((goal, f"mentions {' '.join(goal.mention)}" if goal.mention else "") for goal in rule.escalate.to)
    return [*told, *((goal, [late, *filter(None, [mention])]) for goal, mention in named)]


def _span(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


def _where(goal: Goal) -> str:
    return f"{goal.destination} in {goal.channel}" if goal.channel else goal.destination


def _how(rule: Rule, goal: Goal) -> list[str]:
    words = [word for word, said in (("live", goal.live), ("thread", goal.thread)) if said]
    words += [f"template {goal.template}"] if goal.template else []
    words += [f"gathers for {_span(goal.settle)}"] if goal.settle else []
    words += [f"again every {_span(goal.repeat)} while it fails"] if goal.repeat else []
    if goal.mention:
        words.append(f"mentions {' '.join(goal.mention)} when {' or '.join(goal.mention_when)}")
    return [*words, "stops"] if rule.stop else words
