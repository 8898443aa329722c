"""`bridge backtest`: what a candidate configuration would have said of the recorded events. Sends nothing."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _since, one_line, with_store

if TYPE_CHECKING:
    from bridge.backtest import Comparison, Difference, Kind, Where


@click.command()
@click.option(
    "--config",
    "candidate_path",
    required=True,
    metavar="NEW",
    type=click.Path(dir_okay=False),
    help="The candidate configuration.",
)
@click.option(
    "--running",
    "running_path",
    metavar="PATH",
    type=click.Path(dir_okay=False),
    help="The running configuration. Default: $BRIDGE_CONFIG, then $BRIDGE_CONFIG_YAML, then config.yaml.",
)
@click.option(
    "--since", callback=_since, metavar="7d", default="7d", show_default=True, help="Only events that are newer."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000_000),
    default=100_000,
    show_default=True,
    help="Look at no more events than so many, the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def backtest(candidate_path: str, running_path: str | None, since: datetime, limit: int, *, as_json: bool) -> None:
    """Say which messages the configuration NEW would have added, dropped, moved or worded differently.

    \b
    Tells the events in the database (DATABASE_URL) to both configurations, with their real times:
      bridge backtest --config new.yaml --since 7d

    A living message counts once, where it begins. Sends nothing, writes nothing. Exit 1: something differs.
    """
    from bridge import config
    from bridge.backtest import compare

    running = config.load(running_path, os.environ)
    candidate = config.load(candidate_path, os.environ)
    events = with_store(lambda store: store.events(limit=limit, since=since))
    found = compare(running, candidate, reversed(events))
    if len(events) == limit:
        click.echo(f"only the newest {limit:,} events were looked at: --limit takes more", err=True)
    if as_json:
        click.echo(json.dumps(_as_json(found, since), ensure_ascii=False))
    else:
        _print(found, since, running.file, candidate.file)
    raise SystemExit(1 if found.differences else 0)


def _print(found: Comparison, since: datetime, running: str, candidate: str) -> None:
    click.echo(
        f"{found.events:,} events since {since:%Y-%m-%d %H:%M} UTC: "
        f"{found.running:,} messages by {running}, {found.candidate:,} by {candidate}"
    )
    if not found.differences:
        click.echo("no difference")
    for kind, difference in _sorted(found):
        asked = one_line(", ".join(kind.rules))
        click.echo(f"\n{kind.how:<8}{difference.days.total():>6,}  {asked} -> {_places(kind)}")
        days = ", ".join(f"{day}: {count:,}" for day, count in sorted(difference.days.items()))
        click.echo(f"{'':16}{days}")
        click.echo(f"{'':16}for example {', '.join(difference.events)}")


def _places(kind: Kind) -> str:
    before, after = kind.before, kind.after
    if before is None or after is None or before == after:
        return one_line(str(after or before))
    types = f" ({before.type}) -> ({after.type})" if before.type != after.type else ""
    return one_line(f"{before} -> {after}{types}")


def _sorted(found: Comparison) -> list[tuple[Kind, Difference]]:
    order = ("added", "dropped", "moved", "worded")
    return sorted(found.differences.items(), key=lambda one: (order.index(one[0].how), one[0].rules, _places(one[0])))


def _as_json(found: Comparison, since: datetime) -> dict[str, Any]:
    return {
        "since": since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "events": found.events,
        "messages": {"running": found.running, "candidate": found.candidate},
        "differences": [
            {
                "how": kind.how,
                "rules": list(kind.rules),
                "from": _where(kind.before),
                "to": _where(kind.after),
                "count": difference.days.total(),
                "days": dict(sorted(difference.days.items())),
                "events": difference.events,
            }
            for kind, difference in _sorted(found)
        ],
    }


def _where(where: Where | None) -> dict[str, Any] | None:
    return {"destination": where.destination, "channel": where.channel} if where is not None else None
