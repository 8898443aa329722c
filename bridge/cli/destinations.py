"""`bridge destinations`: does each chat answer, what did it say, what waits for it and what was given up?

Reads what the workers have noted; asks no chat. `bridge doctor` asks.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _ago, _iso, one_line, with_store
from bridge.cli.serve import config_option
from bridge.units import span

if TYPE_CHECKING:
    from bridge.config import Config
    from bridge.store.base import Condition, Depth, Store

WORDS = {True: "answers", False: "DOWN", None: "not asked yet"}


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True)
def destinations(config_path: str | None, limit: int, *, as_json: bool) -> None:
    """List the destinations: whether the last answer was good, what waits, and what was given up.

    Those that are down come first. Names that only the database knows were taken out of the configuration.
    """
    from bridge import config

    loaded = config.load(config_path, os.environ)

    async def look(store: Store) -> tuple[dict[str, Condition], dict[str, Depth]]:
        return await store.conditions(), await store.depths()

    found = _listed(loaded, *with_store(look))[:limit]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for item in found:
        _tell(item)
    if not found:
        click.echo("no destination is configured, and none is known from before", err=True)


def _listed(config: Config, conditions: dict[str, Condition], depths: dict[str, Depth]) -> list[dict[str, Any]]:
    # Whatever was told of a destination that is gone is of no use, unless something is still kept for it.
    names = [*config.destinations, *sorted(depths.keys() - config.destinations.keys())]
    listed = [_destination(name, config, conditions.get(name), depths.get(name)) for name in names]
    return sorted(listed, key=lambda item: item["ok"] is not False)


def _destination(name: str, config: Config, condition: Condition | None, depth: Depth | None) -> dict[str, Any]:
    known = config.destinations.get(name)
    return {
        "destination": name,
        "type": known.type if known else None,
        "ok": condition.ok if condition else None,
        "reason": condition.text if condition and not condition.ok else None,
        "at": _iso(condition.at) if condition else None,
        "failures": condition.failures if condition else 0,
        "rest_until": _iso(condition.rest_until) if condition and condition.rest_until else None,
        "waiting": depth.waiting if depth else 0,
        "oldest_at": _iso(depth.oldest) if depth and depth.oldest else None,
        "dead": depth.dead if depth else 0,
    }


def _tell(item: dict[str, Any]) -> None:
    name, kind = item["destination"], item["type"]
    if kind is None:
        click.echo(f"{name}: no longer in the configuration")
    else:
        click.echo(f"{name} ({kind}): {WORDS[item['ok']]}" + _since(item))
    if item["reason"]:
        click.echo(f"  {one_line(item['reason'])}")
    if item["waiting"]:
        oldest = f", the oldest for {_ago(datetime.fromisoformat(item['oldest_at']))}" if item["oldest_at"] else ""
        click.echo(f"  {item['waiting']} waiting{oldest}")
    if item["dead"]:
        click.echo(f"  {item['dead']} given up; once it is mended: bridge replay --dead --destination {name}")


def _since(item: dict[str, Any]) -> str:
    """When the last answer came that is news: a first one, a bad one, or a good one after a bad one."""
    if item["at"] is None:
        return ""
    ago = span(datetime.now(UTC) - datetime.fromisoformat(item["at"]))
    if item["ok"]:
        return f", since {ago} or longer"
    return f", last asked {ago} ago, {item['failures']} times without success"
