"""``bridge cirrus``: what does Cirrus CI's API say, asked by hand? Needs no running bridge, and no configuration.

Where there is a configuration with a Cirrus CI source, its `api_url` and `api_token` are the defaults: a token for your
own server never goes to another one.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING

import click

from bridge.cli.serve import config_option
from bridge.codec import dump, web_url
from bridge.errors import ConfigError, LookupFailed
from bridge.event import Event
from bridge.lookups.cirrus import API_URL, recent_builds, search_builds

if TYPE_CHECKING:
    from bridge.config import SourceConfig

_SECONDS = 20
_COLUMNS = ("STATUS", "REF", "COMMIT", "TITLE", "TASKS")


@click.group()
def cirrus() -> None:
    """Ask Cirrus CI's API."""


def _repository(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, str]:
    found = re.fullmatch(r"([^/\s]+)/([^/\s]+)", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no repository, write OWNER/NAME")
    return found[1], found[2]


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and web_url(value) is None:
        raise click.BadParameter("write an address that begins with https:// or http://")
    return value


@cirrus.command()
@click.argument("repository", metavar="OWNER/NAME", callback=_repository)
@click.option("--sha", help="Only the builds of this commit; default: the newest of any.")
@config_option
@click.option("--api-url", callback=_address, help=f"The GraphQL address. Default: the source's, else {API_URL}.")
@click.option(
    "--token-env",
    metavar="NAME",
    help="The environment variable that holds the API token. Default: the source's token, else CIRRUS_API_TOKEN. "
    "Public repositories need none.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="At most so many builds.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of a table.")
def builds(
    repository: tuple[str, str],
    config_path: str | None,
    sha: str | None,
    api_url: str | None,
    token_env: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show the builds of a repository, newest first, with their tasks.

    Exits 1 when there are none or the API does not answer.
    """
    source = _configured(config_path)
    address = api_url or (source and source.api_url) or API_URL
    if token_env is not None or source is None or api_url is not None:
        token = os.environ.get(token_env or "CIRRUS_API_TOKEN") or None
    else:
        token = source.api_token
    try:
        found = asyncio.run(_ask(repository, sha, address, token, limit))[:limit]
    except LookupFailed as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(dump(found))
    elif found:
        click.echo(_table(found))
    if not found:
        where = "/".join(repository) + (f" at {sha}" if sha else "")
        raise click.ClickException(
            f"Cirrus CI shows no builds of {where}"
            + ("" if token else f" (${token_env or 'CIRRUS_API_TOKEN'} is not set)")
        )


def _configured(path: str | None) -> SourceConfig | None:
    """Return the first Cirrus CI source of the configuration; None without one. A path that was given must be right."""
    from bridge import config

    try:
        loaded = config.load(path, os.environ)
    except ConfigError:
        if path is not None:
            raise
        return None
    return next((source for source in loaded.sources.values() if source.type == "cirrus"), None)


async def _ask(
    repository: tuple[str, str], sha: str | None, api_url: str, token: str | None, limit: int
) -> list[Event]:
    import aiohttp

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
        if sha is None:
            return await recent_builds(session, api_url, token, *repository, limit)
        return await search_builds(session, api_url, token, *repository, sha)


def _table(builds: list[Event]) -> str:
    rows = [_COLUMNS, *(_row(build) for build in builds)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )


def _row(build: Event) -> tuple[str, str, str, str, str]:
    return (
        build.status.value,
        _cut(build.tag or build.branch or "-", 30),
        (build.sha or "-")[:10],
        _cut(build.title or "-", 50),
        ", ".join(f"{task.name} {task.status.value}" + (f" ({task.step})" if task.step else "") for task in build.tasks)
        or "-",
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
