"""`bridge digest`: what a digest would tell, of the recorded events. Sends nothing, writes nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _since, one_line, with_store
from bridge.cli.serve import config_option
from bridge.route import route, suggest

if TYPE_CHECKING:
    from bridge.config import Config
    from bridge.event import Digest
    from bridge.route import Rule
    from bridge.schedule import Schedule
    from bridge.store.base import Store

Chosen = tuple["Rule", "Schedule"]


@click.command()
@click.argument("name", metavar="[RULE]", required=False)
@click.option("--now", "under_way", is_flag=True, help="The one that is under way: from the last one's time until now.")
@click.option("--since", callback=_since, metavar="7d", help="From then until now.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@config_option
def digest(
    config_path: str | None, name: str | None, since: datetime | None, *, under_way: bool, as_json: bool
) -> None:
    """Print what the digest of RULE (or each one) would tell. Sends nothing.

    \b
    Of the period that ended last, of the one under way, or of one of your choice:
      bridge digest "good morning"
      bridge digest "good morning" --now
      bridge digest "good morning" --since 30d

    Reads the events in the database (DATABASE_URL).
    """
    from bridge import config
    from bridge.occasions import digest_of
    from bridge.schedule import last_time, time_before

    if since is not None and under_way:
        raise click.UsageError("choose: --now, or --since")
    loaded = config.load(config_path, os.environ)
    chosen = _chosen(loaded, name)
    now = datetime.now(UTC)

    async def look(store: Store) -> list[Digest]:
        found = []
        for rule, schedule in chosen:
            last = last_time(schedule, now)
            begin, end = (time_before(schedule, last), last) if not under_way else (last, now)
            found.append(await digest_of(store, rule, *((since, now) if since is not None else (begin, end))))
        return found

    found = with_store(look)
    if as_json:
        click.echo(json.dumps([_json(one) for one in found], ensure_ascii=False))
        return
    for (rule, _), one in zip(chosen, found, strict=True):
        _print(loaded, rule, one)


def _chosen(config: Config, name: str | None) -> list[Chosen]:
    """Return the rules with a digest that are meant, each with its times."""
    known = [(rule, rule.digest) for rule in config.rules if rule.digest is not None]
    chosen = [(rule, times) for rule, times in known if name in (None, rule.name)]
    if not known:
        raise click.ClickException("no rule has a `digest`: see docs/quiet.md")
    if not chosen:
        names = [rule.name for rule, _ in known]
        raise click.BadParameter(
            f"no rule '{one_line(name or '')}' has a `digest`{suggest(name or '', names)}", param_hint="RULE"
        )
    return chosen


def _print(config: Config, rule: Rule, found: Digest) -> None:
    from bridge.cli.explain import print_messages, rendered
    from bridge.occasions import own_event

    click.echo(one_line(f"{rule.name}: {rule.digest}; {found.period}"))
    if found.empty:
        told = "one line is told" if rule.tells_empty else "nothing is told"
        click.echo(f"  no run ended, and nothing is broken: {told}")
        if not rule.tells_empty:
            return
    event = own_event(found)
    targets = route([rule], event).targets
    print_messages(config, [(target, rendered(config, event, None, target)) for target in targets], {})


def _json(found: Digest) -> dict[str, Any]:
    from bridge.occasions import own_event

    shown: dict[str, Any] = own_event(found).public()["digest"] | {"empty": found.empty}
    return shown
