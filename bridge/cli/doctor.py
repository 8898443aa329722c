"""`bridge doctor`: does each destination answer, would it take a message, and what to click when not?

Asks live, all at once, and posts nothing; with `--post` one message each, that says itself that it is a test. Needs no
database and no running bridge.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from bridge.cli.serve import config_option
from bridge.route import suggest

if TYPE_CHECKING:
    from bridge.config import Config
    from bridge.destinations import Destination
    from bridge.destinations.base import Health
    from bridge.message import Message

WITHIN = 10.0  # seconds for one destination's answer
WORDS = {True: "ok", False: "NO", None: "?"}


@click.command()
@config_option
@click.option("--post", is_flag=True, help="Post a test message to each destination.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.argument("names", metavar="[DESTINATION]...", nargs=-1)
def doctor(config_path: str | None, names: tuple[str, ...], *, post: bool, as_json: bool) -> None:
    """Check each source and destination live, without posting: is the token valid, does the chat answer.

    With --post, each destination (or those named) that does not say no gets one message, whose words say that it is a
    test. Exit 1: one said no.
    """
    import asyncio

    from bridge import config, observe

    loaded = config.load(config_path, os.environ)
    for name in names:
        if name not in loaded.destinations:
            raise click.BadParameter(
                f"no destination named '{name}'{suggest(name, loaded.destinations)}", param_hint="DESTINATION"
            )
    observe.configure(os.environ.get("LOG_FORMAT"), "error", loaded.secrets)
    # A console destination prints what is posted: not into the middle of the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        keys, health = asyncio.run(_ask(loaded, names or tuple(loaded.destinations), post=post, sources=not names))
    if as_json:
        told = [("source", name, item) for name, item in keys.items()]
        told += [("destination", name, item) for name, item in health.items()]
        click.echo(json.dumps([{what: name, "ok": item.ok, "text": item.text} for what, name, item in told]))
    else:
        _tell(loaded, keys, health, sources=not names)
    if any(item.ok is False for item in (*keys.values(), *health.values())):
        raise SystemExit(1)


async def _ask(
    loaded: Config, names: tuple[str, ...], *, post: bool, sources: bool
) -> tuple[dict[str, Health], dict[str, Health]]:
    """Return what the senders' published keys and the destinations are like."""
    import asyncio

    import aiohttp

    from bridge.destinations import DESTINATIONS
    from bridge.keys import PublishedKeys

    async with aiohttp.ClientSession() as session:
        published = PublishedKeys(session)
        signers = [source for source in loaded.sources.values() if source.publishes and sources]
        keys = {source.name: await published.check(source) for source in signers}
        chosen = [loaded.destinations[name] for name in names]
        places = [DESTINATIONS[one.type].open(one.name, one.options, session) for one in chosen]
        answers = await asyncio.gather(*(_see(place, name, post) for place, name in zip(places, names, strict=True)))
    return keys, dict(zip(names, answers, strict=True))


async def _see(place: Destination, name: str, post: bool) -> Health:
    """Return how a destination is; one that says no is not posted to."""
    import asyncio

    from bridge.destinations.base import Health
    from bridge.errors import DeliveryError

    asked = "asked"
    try:
        async with asyncio.timeout(WITHIN):
            health = await place.check()
        if health.ok is False or not post:
            return health
        asked = "posted"
        async with asyncio.timeout(WITHIN):
            return await _post(place, name)
    except TimeoutError:
        perhaps = ", the message may have arrived" if asked == "posted" else ""
        return Health(False, f"does not answer within {WITHIN:g} s{perhaps}")
    except DeliveryError as error:
        return Health(False, f"not posted: {error}" if asked == "posted" else str(error))


async def _post(place: Destination, name: str) -> Health:
    from uuid import uuid4

    from bridge.destinations.base import Health

    receipt = await place.send(letter(name), channel=None, thread=None, key=f"doctor-{uuid4().hex}")
    note = receipt.get("note", "")
    return Health(True, "a test message was posted" + (f"; {note}" if note else ""))


def letter(name: str) -> Message:
    """Return the test message for the destination of that name."""
    from bridge.message import Message, Paragraph, Span

    return Message(
        title=(Span("bridge can post here", bold=True),),
        body=(Paragraph((Span("This is a test, made by hand with "), Span("bridge doctor --post", code=True))),),
        footer=(Span(f"Destination {name} · nothing happened and nobody needs to do anything"),),
    )


def _tell(loaded: Config, keys: dict[str, Health], health: dict[str, Health], *, sources: bool) -> None:
    for source in loaded.sources.values() if sources else ():
        secured = "UNSIGNED" if source.unsigned else f"{len(source.secrets) or len(source.tokens)} secret(s)"
        secured = keys[source.name].text if source.name in keys else secured
        click.echo(f"source {source.name}: {source.type}, {secured}")
    for name, item in health.items():
        click.echo(f"destination {name}: {WORDS[item.ok]}, {item.text}")
