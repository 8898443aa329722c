"""`bridge events`, `deliveries`, `show` and `replay`: what came in, what went out, and why."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bridge.event import OWN, Event
from bridge.units import parse_duration, span

if TYPE_CHECKING:
    from bridge.store.base import Store, StoredDelivery, StoredEvent

T = TypeVar("T")

LONGEST_CELL = 44


def with_store(work: Callable[[Store], Awaitable[T]], *, make: bool = False) -> T:
    """Run `work` on the database that DATABASE_URL names, the server's own; `make` it when it is not there."""
    from bridge.store import DEFAULT_URL, is_missing, open_store

    url = os.environ.get("DATABASE_URL") or DEFAULT_URL
    if not make and is_missing(url):
        raise click.ClickException(
            f"there is no database at {url.removeprefix('sqlite:///')}: run this where `bridge serve` runs, or set "
            "DATABASE_URL as it has it"
        )

    async def run() -> T:
        store = await open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.now(UTC) - parse_duration(value)  # type: ignore[no-any-return]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    except OverflowError as error:
        raise click.BadParameter(f"{value} is longer ago than there are dates") from error


def _listing(command: Any) -> Any:
    command = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")(command)
    command = click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)(command)
    command = click.option("--since", callback=_since, metavar="1h", help="Only the newer ones.")(command)
    # Accepted for uniformity: the lists come from the database alone.
    return click.option("--config", "config_path", type=click.Path(), hidden=True)(command)


@click.command()
@_listing
@click.option("--source", help="Only of this source.")
@click.option(
    "--state",
    type=click.Choice(["routed", "unrouted", "unchanged", "ignored", "unreadable", "stuck"]),
    help="Only in this state; unrouted: no rule wanted it.",
)
def events(
    limit: int, since: datetime | None, source: str | None, state: str | None, *, as_json: bool, config_path: str | None
) -> None:
    """List what came in, newest first."""
    found = with_store(lambda store: store.events(limit=limit, source=source, state=state, since=since))
    if as_json:
        click.echo(json.dumps([_event_json(item) for item in found], ensure_ascii=False))
        return
    rows = [
        (item.id, _ago(item.received_at), item.source, item.state, *_words(item.event, item.problem)) for item in found
    ]
    _table(("id", "when", "source", "state", "what", "status", "change", "title"), rows)


@click.command()
@_listing
@click.option("--destination", help="Only for this destination.")
@click.option(
    "--state",
    type=click.Choice(["pending", "sending", "done", "folded", "muted", "dead", "dropped"]),
    help="Only in this state; folded: a newer state of the same living message was shown instead.",
)
def deliveries(
    limit: int,
    since: datetime | None,
    destination: str | None,
    state: str | None,
    *,
    as_json: bool,
    config_path: str | None,
) -> None:
    """List what went out, waits, or is dead, newest first."""
    found = with_store(lambda store: store.deliveries(limit=limit, destination=destination, state=state, since=since))
    if as_json:
        click.echo(json.dumps([_delivery_json(item) for item in found], ensure_ascii=False))
        return
    rows = [
        (
            item.id,
            _ago(item.created_at),
            item.event_id,
            item.target.destination,
            item.state,
            str(item.attempts or ""),
            _waits(item) or item.text or (item.event.title if item.event and item.event.title else ""),
        )
        for item in found
    ]
    _table(("id", "when", "event", "to", "state", "tries", "what"), rows)


@click.command()
@click.argument("item_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--body", is_flag=True, help="Print an event's raw body and nothing else.")
def show(item_id: str, *, as_json: bool, body: bool) -> None:
    """Show one event (e12) or delivery (d34): what it said, which rules wanted it, what was tried."""

    async def find(store: Store) -> tuple[StoredEvent | None, list[StoredDelivery]]:
        if item_id.startswith("d"):
            delivery = await store.delivery(item_id)
            return None, [delivery] if delivery else []
        event = await store.event(item_id)
        number = int(item_id.lstrip("e")) if item_id.lstrip("e").isdecimal() else 0
        return event, await store.deliveries(limit=1_000, event_id=number) if event else []

    event, owed = with_store(find)
    if event is None and not owed:
        click.echo(f"nothing is kept under {item_id}: bridge events and bridge deliveries list what is", err=True)
        raise SystemExit(1)
    if body:
        sys.stdout.buffer.write(event.body if event else b"")
        return
    if as_json:
        shown = _event_json(event) if event else _delivery_json(owed[0])
        if event:
            shown["deliveries"] = [_delivery_json(item) for item in owed]
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    if event:
        _show_event(event)
    for item in owed:
        _show_delivery(item)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--dead", is_flag=True, help="All that were given up.")
@click.option("--destination", help="With --dead: only for this destination.")
@click.option("--since", callback=_since, metavar="1d", help="With --dead: only the newer ones.")
@click.option("--json", "as_json", is_flag=True, help="Print the new deliveries' ids as a JSON array.")
def replay(ids: tuple[str, ...], destination: str | None, since: datetime | None, *, dead: bool, as_json: bool) -> None:
    """Deliver again: deliveries (d34), all deliveries of an event (e12), or --dead.

    Each becomes a new delivery; a running bridge sends it within seconds.
    """
    if not ids and not dead:
        raise click.UsageError("name what to deliver again, or --dead")

    async def again(store: Store) -> list[str]:
        wanted = [item for item in ids if not item.startswith("e")]
        for item in ids:
            if item.startswith("e") and item[1:].isdecimal():
                wanted += [
                    found.id
                    for found in await store.deliveries(limit=1_000, event_id=int(item[1:]))
                    if not found.replayed
                ]
        if dead:
            for state in ("dead", "dropped"):
                found_dead = await store.deliveries(limit=100_000, state=state, destination=destination, since=since)
                wanted += [found.id for found in found_dead]
        return await store.replay(sorted(set(wanted), key=lambda name: (len(name), name)), datetime.now(UTC))

    done = with_store(again)
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(f"{len(done)} to be delivered again" + (f": {', '.join(done[:20])}" if done else ""))
    if not done:
        raise SystemExit(1)


# -- forms -------------------------------------------------------------------------------------------------------------


def _event_json(item: StoredEvent) -> dict[str, Any]:
    shown: dict[str, Any] = item.event.public() if item.event else {"source": item.source}
    return shown | {
        "id": item.id,
        "source": item.source,
        "received_at": item.received_at.isoformat().replace("+00:00", "Z"),
        "state": item.state,
        "reason": item.problem or None,
        "rules": list(item.rules),
    }


def _delivery_json(item: StoredDelivery) -> dict[str, Any]:
    return {
        "id": item.id,
        "event_id": item.event_id,
        "destination": item.target.destination,
        "channel": item.target.channel,
        "template": item.target.template,
        "live": item.target.live,
        "rules": list(item.target.rules),
        "state": item.state,
        "attempts": item.attempts,
        "reason": item.text or None,
        "created_at": _iso(item.created_at),
        "due_at": _iso(_due_at(item)) if item.state == "pending" else None,
        "waits": item.target.why or None if item.state == "pending" else None,
        "settled_at": _iso(item.settled_at) if item.settled_at else None,
        "event": item.event.public() if item.event else None,
        "history": [
            {"at": _iso(one.at), "outcome": one.outcome, "reason": one.text or None, "seconds": round(one.seconds, 3)}
            for one in item.history
        ],
    }


def _due_at(item: StoredDelivery) -> datetime:
    """Return when its turn comes; what waits long is looked at more often than that."""
    from bridge.turn import ready_at

    return item.due_at if item.replayed or item.attempts else max(item.due_at, ready_at(item.target, item.created_at))


def _waits(item: StoredDelivery) -> str:
    """Return why a delivery waits, and until when."""
    if item.state != "pending" or not item.target.why or item.replayed:
        return ""
    return f"{item.target.why} ({_due_at(item):%Y-%m-%d %H:%M:%S} UTC)"


def _show_event(item: StoredEvent) -> None:
    click.echo(f"event {item.id}, from {item.source}, {_ago(item.received_at)} ago: {item.state}")
    if item.problem:
        click.echo(f"  {item.problem}")
    if item.event:
        for line in lines_of(item.event, without=("id", "source")):
            click.echo(f"  {line}")
    click.echo(f"  rules: {', '.join(item.rules) or 'none matched'}")
    asked = f"bridge explain {item.id}"
    if item.source != OWN:  # what bridge tells by itself has no body
        asked = f"bridge show {item.id} --body | bridge explain --source {item.source} -"
    click.echo(f"  why: {asked}")


def lines_of(event: Event, *, without: Sequence[str] = ()) -> Iterator[str]:
    """Yield what an event says for people, a line for each name that a rule can use."""
    for name, value in event.public().items():
        if value not in (None, [], 0, "") and name not in without:
            yield f"{name}: {one_line(_said(name, value, event))}"


def _said(name: str, value: Any, event: Event) -> str:
    if name == "run":
        number, attempt = value["number"], value["attempt"]
        page = value["url"] if value["url"] != event.url else None
        parts = (f"#{number}" if number is not None else "", f"attempt {attempt}" if attempt else "", page)
        return ", ".join([*filter(None, parts), f"id {value['id']}"])
    if name == "digest" and event.digest is not None:
        found = event.digest
        of = f"the rule '{found.rule}', {found.period}" if found.rule else f"the mute of {found.mute}"
        return f"of {of}; runs: {found.pulse.runs}, repositories: {len(found.repositories) + found.more}"
    if name == "facts":
        return "; ".join(f"{label}: {text}" for label, text in event.facts)
    if name == "duration" and event.duration is not None and 0 <= event.duration < _LONGEST:
        return f"{event.duration:g} s ({span(timedelta(seconds=event.duration))})"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)  # as one writes it in a rule


_LONGEST = 10**9  # seconds: more is a sender's mistake and shown as it came


def _show_delivery(item: StoredDelivery) -> None:
    channel = f" in {item.target.channel}" if item.target.channel else ""
    click.echo(f"delivery {item.id} of {item.event_id} to {item.target.destination}{channel}: {item.state}")
    click.echo(f"  rules: {', '.join(item.target.rules)}; template {item.target.template}; living: {item.target.live}")
    if item.state == "pending":
        click.echo(f"  due: {_iso(_due_at(item))}" + (f", {one_line(item.target.why)}" if item.target.why else ""))
    elif item.text:
        click.echo(f"  {one_line(item.text)}")
    if item.sent:
        said = "".join(span["text"] for span in json.loads(item.sent)["title"])
        click.echo(f"  said: {one_line(said)}")
    for one in item.history:
        click.echo(f"  {_iso(one.at)}  {one.outcome}  {one.seconds:.3f} s  {one_line(one.text)}")


def _words(event: Event | None, problem: str) -> tuple[str, ...]:
    from bridge.render.forge import pull_request_name

    if event is None:
        return ("", "", "", problem)
    ref = pull_request_name(event) or event.tag or event.branch or ""
    status = event.status.value if event.status != "unknown" else (event.action or "")
    return (f"{event.repository or ''}@{ref} {event.kind}", status, event.change or "", event.title or "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        click.echo("nothing here", err=True)
        return
    cells = [head, *[tuple(one_line(cell) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def one_line(text: str) -> str:
    """Foreign text on one line of a terminal: control characters, which could rewrite the screen, are shown as dots."""
    text = "".join(char if char.isprintable() else "·" for char in text)
    return text if len(text) <= LONGEST_CELL * 4 else text[: LONGEST_CELL * 4 - 1] + "…"


def _ago(when: datetime) -> str:
    return span(datetime.now(UTC) - when)


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
