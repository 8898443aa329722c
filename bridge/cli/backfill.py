"""`bridge backfill`: ask a sender for what it sent while bridge was away, and accept it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _since, _table, one_line, with_store
from bridge.cli.serve import config_option

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.backfill import Backfill, Found
    from bridge.config import Config, SourceConfig
    from bridge.history import HistoryModule, Hook
    from bridge.store.base import Store

_COUNTS = ("found", "known", "accepted", "told", "ignored", "unreadable", "refused")
_COUNTS_DRY = ("found", "known", "missing", "ignored")
_COUNTS_AGAIN = ("found", "known", "redelivered", "ignored", "refused")


@click.command()
@config_option
@click.argument("source")
@click.argument("places", metavar="[REPOSITORY]...", nargs=-1)
@click.option("--since", callback=_since, metavar="3d", default="3d", show_default=True, help="Only the newer ones.")
@click.option(
    "--hook",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A webhook by its path in the API: repos/acme/app/hooks/7, orgs/acme/hooks/7, projects/42/hooks/7, "
    "groups/acme/hooks/7. For those whose address does not end in /webhooks/SOURCE.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="Look at no more deliveries than so many, the newest.",
)
@click.option(
    "--token-env",
    metavar="NAME",
    help="The environment variable that holds the API token. Default: the source's api_token.",
)
@click.option("--redeliver", is_flag=True, help="GitHub: have it post them again, signed, instead of fetching them.")
@click.option("--silent", is_flag=True, help="Tell nobody: only learn how things stand.")
@click.option("--dry-run", is_flag=True, help="Count what is missing, and leave it there.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def backfill(
    config_path: str | None,
    source: str,
    places: tuple[str, ...],
    since: datetime,
    paths: tuple[str, ...],
    limit: int,
    token_env: str | None,
    *,
    redeliver: bool,
    silent: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask SOURCE's sender for what it sent while bridge was away, and accept it like a webhook.

    \b
    GitHub keeps deliveries for 3 days, GitLab for 7. SOURCE needs an api_token
    (or --token-env) that may read webhooks. Without REPOSITORY those are asked of which
    bridge has heard in the last 30 days; an organization's name asks for its own.
      bridge backfill github
      bridge backfill github acme/app acme/site --since 6h
      bridge backfill gitlab --hook groups/acme/hooks/7 --dry-run

    Uses the database of the server (DATABASE_URL), which may run meanwhile. What is here already is not asked for, so
    it can be run again at any time. Of each branch only the newest result is told: docs/backfill.md. Exits 1 when not
    everything could be looked at.
    """
    from bridge import config, observe

    loaded = config.load(config_path, os.environ)
    wanted = _source(loaded, source)
    history = _history(wanted, redeliver=redeliver)
    token = _token(wanted, history, token_env)
    observe.configure(os.environ.get("LOG_FORMAT"), "error", loaded.secrets | {token})
    hooks = [_hook(history, path) for path in paths]

    async def work(store: Store) -> list[Found]:
        import aiohttp

        from bridge.backfill import Backfill, Late, Wanted
        from bridge.receive import Deciding
        from bridge.tally import Tallies

        tallies = Tallies(store, _now)
        async with aiohttp.ClientSession() as session:
            filling = Backfill(
                store=store,
                source=wanted,
                decider=Late(Deciding(loaded.rules), silent=silent),
                history=history,
                ask=history.asker(session, wanted.api_url, token),
                wanted=Wanted(since=since, limit=limit, dry_run=dry_run, redeliver=redeliver),
                now=_now,
                tallies=tallies,
            )
            try:
                return [found async for found in _all(filling, places, hooks)]
            finally:
                await tallies.stop()

    rows = with_store(work)
    counts = _COUNTS_DRY if dry_run else _COUNTS_AGAIN if redeliver else _COUNTS
    if as_json:
        click.echo(json.dumps([{"source": wanted.name} | asdict(row) for row in rows], ensure_ascii=False))
    else:
        _print(rows, counts)
    if any(row.stopped for row in rows):
        raise SystemExit(1)


def _now() -> datetime:
    return datetime.now(UTC)


async def _all(filling: Backfill, places: tuple[str, ...], hooks: list[Hook]) -> AsyncIterator[Found]:
    """Yield what was found: of the webhooks named, else of the repositories named, else of those heard of."""
    from bridge.backfill import heard_of

    if hooks:
        async for found in filling.hooks(hooks):
            yield found
    if hooks and not places:
        return
    asked = list(places) or await heard_of(filling.store, filling.source.name, _now())
    if not asked:
        raise click.UsageError(
            f"bridge has heard of no repository from {filling.source.name} yet: name one ({filling.history.PLACE})"
        )
    async for found in filling.places(asked):
        yield found


# -- what is wrong with the question -----------------------------------------------------------------------------------


def _source(loaded: Config, name: str) -> SourceConfig:
    from bridge.cli.explain import source_of

    try:
        return source_of(loaded, name)
    except click.BadParameter as error:
        error.param_hint = "SOURCE"
        raise


def _history(source: SourceConfig, *, redeliver: bool) -> HistoryModule:
    from bridge.history import HISTORIES, KEEP_NONE, Redelivers

    if source.type not in HISTORIES:
        says = KEEP_NONE.get(source.type, "its manual may tell")
        known = " and ".join(sorted(HISTORIES))
        raise click.UsageError(
            f"{source.module.LABEL} has no API that shows what it sent ({known} have). What helps: {says}"
        )
    history = HISTORIES[source.type]
    if redeliver and not isinstance(history, Redelivers):
        raise click.UsageError(f"{source.module.LABEL} sends few again at a time: leave --redeliver out")
    return history


def _token(source: SourceConfig, history: HistoryModule, token_env: str | None) -> str:
    token = os.environ.get(token_env) if token_env is not None else source.api_token
    if token:
        return token
    missing = f"${token_env} is not set" if token_env is not None else f"sources.{source.name} has no api_token"
    raise click.UsageError(
        f"{missing}, and without one {source.module.LABEL} shows no webhook. It needs {history.NEEDS}"
    )


def _hook(history: HistoryModule, path: str) -> Hook:
    found = history.named(path)
    if found is None:
        raise click.UsageError(f"--hook {path}: no path of a webhook in this API, see `bridge backfill --help`")
    return found


# -- forms -------------------------------------------------------------------------------------------------------------


def _print(rows: list[Found], counts: tuple[str, ...]) -> None:
    def row(found: Found) -> tuple[str, ...]:
        values: dict[str, Any] = asdict(found)
        return (found.place, found.hook or "-", *(str(values[name]) for name in counts))

    _table(("repository", "webhook", *counts), [row(found) for found in rows])
    for found in rows:
        if found.stopped:
            click.echo(f"{found.place}: {one_line(found.stopped)}", err=True)
    told = sum(found.told for found in rows)
    if told:
        click.echo(f"{told} to be told: a running bridge does it within seconds", err=True)
