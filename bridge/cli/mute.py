"""`bridge mute`, `mutes` and `unmute`: silence that ends by itself, for all processes on one database."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _ago, _iso, _table, one_line, with_store
from bridge.cli.serve import config_option
from bridge.errors import ConfigError
from bridge.route import MatchError, condition, suggest
from bridge.store.base import EVERYTHING, Mute
from bridge.units import parse_duration, span

if TYPE_CHECKING:
    from bridge.store.base import Store

LONGEST = timedelta(days=365)  # what is never to be told is for the rules
LONGEST_REASON = 200  # characters
COUNTED = 10_000  # deliveries; more are not counted
SEEN_WITHIN = timedelta(days=90)


def _lasting(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    try:
        lasts: timedelta = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not timedelta() < lasts <= LONGEST:
        raise click.BadParameter("a mute lasts for more than nothing and at most 365d")
    return lasts


@click.command()
@click.argument("what")
@click.argument("lasting", metavar="DURATION", callback=_lasting)
@click.option("--reason", default="", help="Why, for those who wonder later.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@config_option
def mute(config_path: str | None, what: str, lasting: timedelta, reason: str, *, as_json: bool) -> None:
    """Keep WHAT quiet for DURATION (30m, 2h, 7d): "all", the name of a rule, a repository, or repository@branch.

    Repositories and branches may be patterns: "acme/*", "acme/app@release/**". What is muted is not sent, also not
    afterwards; it is kept (bridge deliveries --state muted). Messages that live are still edited, and name nobody.
    Muting the same again sets a new end. A running bridge hears of it within seconds, and says at the end how many
    messages it kept quiet.
    """
    now = datetime.now(UTC)
    named = _named(what, config_path)
    new = Mute(**named, since=now, until=now + lasting, reason=reason.strip()[:LONGEST_REASON])

    async def keep(store: Store) -> tuple[str, set[str]]:
        counted = await store.tallies(now - SEEN_WITHIN) if new.repository else []
        return await store.mute(new), {one.repository for one in counted if one.repository}

    kept, known = with_store(keep, make=False)
    if as_json:
        click.echo(json.dumps(_json(new, kept), ensure_ascii=False))
    else:
        click.echo(f"{kept}: {one_line(new.what)} is muted for {span(lasting)}, until {_until(new)}")
        click.echo(f"  to end it sooner: bridge unmute {kept}")
    if known and not any(_fits(new.repository, name) for name in known):
        near = get_close_matches(new.repository, known, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        click.echo(f"no event of a repository {one_line(new.repository)} is known yet{hint}", err=True)


def _named(what: str, config_path: str | None) -> dict[str, str]:
    """Return which words of a mute `what` sets. Raises ConfigError, and BadParameter for what is nothing known."""
    from bridge import config

    if what == EVERYTHING:
        return {}
    try:
        rules = [rule.name for rule in config.load(config_path, os.environ).rules]
    except ConfigError:
        if "/" not in what:
            raise
        rules = []  # a repository needs no configuration; somebody may be mending it in a hurry
    if what in rules:
        return {"rule": what}
    repository, at, branch = what.partition("@")
    if "/" not in repository or (at and not branch):
        raise click.BadParameter(
            f"'{one_line(what)}' is no rule, and no repository (owner/name) or repository@branch{suggest(what, rules)}",
            param_hint="WHAT",
        )
    try:
        condition("repository", repository)
        if branch:
            condition("branch", branch)
    except MatchError as error:
        raise click.BadParameter(str(error), param_hint="WHAT") from error
    return {"repository": repository, "branch": branch}


def _fits(pattern: str, name: str) -> bool:
    return any(
        not isinstance(one, bool | int) and one.matches(name) for one in condition("repository", pattern).include
    )


@click.command()
@click.option("--all", "ended", is_flag=True, help="Also those that have ended, as long as they are kept.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--config", "config_path", type=click.Path(), hidden=True)
def mutes(limit: int, config_path: str | None, *, ended: bool, as_json: bool) -> None:
    """List what is muted, until when and why, and how many messages were kept quiet; newest first."""
    now = datetime.now(UTC)

    async def look(store: Store) -> tuple[list[Mute], Counter[str]]:
        found = await store.mutes(now - LONGEST * 10 if ended else now)
        if not found:
            return [], Counter()
        since = min(one.since for one in found)
        kept = await store.deliveries(limit=COUNTED, state="muted", since=since - LONGEST)
        return found[::-1][:limit], Counter(item.text.split(" ", 3)[2] for item in kept)

    found, kept = with_store(look)
    if as_json:
        click.echo(json.dumps([_json(one, one.id) | {"muted": kept[one.id]} for one in found], ensure_ascii=False))
        return
    rows = [(one.id, one.what, _ago(one.since), _end(one, now), str(kept[one.id] or ""), one.reason) for one in found]
    _table(("id", "what", "since", "until", "muted", "reason"), rows)


@click.command()
@click.argument("which", metavar="ID|WHAT", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ids of the ended mutes as a JSON array.")
@click.option("--config", "config_path", type=click.Path(), hidden=True)
def unmute(which: tuple[str, ...], config_path: str | None, *, as_json: bool) -> None:
    """End mutes now: by id (m3), by the words they were made with, or "all" of them.

    What was kept quiet meanwhile is not sent; bridge replay sends it. Exit 1: nothing of the kind is muted.
    """
    now = datetime.now(UTC)

    async def end(store: Store) -> list[str]:
        holding = await store.mutes(now)
        ids = [one.id for one in holding if EVERYTHING in which or one.id in which or one.what in which]
        return await store.unmute(ids, now)

    done = with_store(end)
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(f"no longer muted: {', '.join(done)}" if done else "nothing of the kind is muted: see bridge mutes")
    if not done:
        raise SystemExit(1)


def _json(one: Mute, mute_id: str) -> dict[str, Any]:
    return {
        "id": mute_id,
        "what": one.what,
        "rule": one.rule or None,
        "repository": one.repository or None,
        "branch": one.branch or None,
        "since": _iso(one.since),
        "until": _iso(one.until),
        "reason": one.reason or None,
    }


def _end(one: Mute, now: datetime) -> str:
    return f"{_until(one)} (in {span(one.until - now)})" if one.until > now else f"{_until(one)} (over)"


def _until(one: Mute) -> str:
    return f"{one.until:%Y-%m-%d %H:%M} UTC"
