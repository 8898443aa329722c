"""`bridge sources`: who sends, how much of it was taken, what was refused and why, and whom no rule hears?

Reads what the server has counted (`bridge.tally`), some hundred rows, and never the events themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.look import _ago, _since, one_line, with_store
from bridge.cli.serve import config_option

if TYPE_CHECKING:
    from bridge.config import Config, SourceConfig
    from bridge.store.base import Store, StoredEvent, Tally

ACCEPTED = ("routed", "unrouted", "unchanged", "stuck")
KEPT = (*ACCEPTED, "ignored", "unreadable")  # what `bridge events` lists
SIGNED = (*KEPT, "duplicate")
REFUSALS = {  # by the reason: the answer, what it means, what to do
    "signature": (
        401,
        "no signature or token, or a wrong one",
        "the secret here and the one at the sender differ (or strangers try): set the same on both sides; while it is "
        "rotated, list both here",
    ),
    "type": (
        415,
        "a content type that is not taken, or a compressed body",
        "choose JSON (application/json) at the sender, and let no proxy compress what it passes on",
    ),
    "size": (413, "a body that is too large", "raise server.max_body, or tick fewer events at the sender"),
    "slow": (
        408,
        "a body that did not come in time",
        "look at the network and the proxy between the sender and bridge",
    ),
    "other": (400, "a body that broke off", "look at the network and the proxy between the sender and bridge"),
    "store": (
        503,
        "the database took no writes",
        "look for store.unavailable in the log; let the sender deliver again what it does not repeat by itself",
    ),
    "key": (503, "the sender's public key could not be fetched", "bridge doctor says why"),
    "unknown": (
        404,
        "names that no source has",
        "an address at a sender is mistyped or older than the configuration, or strangers try",
    ),
}
COUNTED = {"accepted": ACCEPTED, "ignored": ("ignored",), "unreadable": ("unreadable",), "duplicate": ("duplicate",)}
NARROWEST, WIDEST = 40, 100  # columns


@dataclass
class Repository:
    """What was heard of one repository from one source. `unrouted`: no rule wanted it."""

    name: str
    received_at: datetime
    events: int = 0
    routed: int = 0
    unrouted: int = 0


@dataclass(frozen=True)
class Heard:
    """What is known of one source: its configuration (None: it has none now) and its counts."""

    name: str
    source: SourceConfig | None
    tallies: tuple[Tally, ...]
    heard_at: datetime | None  # also before the time that is asked about

    def times(self, *answers: str) -> int:
        return sum(tally.times for tally in self.tallies if tally.answer in answers)

    @property
    def repositories(self) -> list[Repository]:
        """Return the repositories, the one that was heard of last first."""
        found: dict[str, Repository] = {}
        for tally in self.tallies:
            if tally.answer not in ACCEPTED or not tally.repository:
                continue
            one = found.setdefault(tally.repository, Repository(tally.repository, tally.last_at))
            one.received_at = max(one.received_at, tally.last_at)
            one.events += tally.times
            one.routed += tally.times * (tally.answer == "routed")
            one.unrouted += tally.times * (tally.answer == "unrouted")
        return sorted(found.values(), key=lambda one: (one.received_at, one.name), reverse=True)

    @property
    def unmatched(self) -> list[Repository]:
        """Return the repositories of which rules were asked, and none wanted anything."""
        return [one for one in self.repositories if one.unrouted and not one.routed]

    @property
    def refusals(self) -> list[Tally]:
        """Return why requests were refused, the most common reason first."""
        refused = [tally for tally in self.tallies if tally.answer not in SIGNED]
        return sorted(refused, key=lambda tally: (-tally.times, tally.answer))

    def last(self, answer: str) -> str | None:
        """Return the id of the last event that was answered so."""
        numbers = [tally.last_event for tally in self.tallies if tally.answer == answer]
        return f"e{max(numbers)}" if any(numbers) else None


def heard_of(config: Config, tallies: Iterable[Tally], earlier: Iterable[Tally]) -> list[Heard]:
    """Return what is known of each source: the configured ones first, strangers last. `earlier`: of all days."""
    from bridge.store.base import NO_SOURCE

    of: dict[str, list[Tally]] = {name: [] for name in config.sources}
    for tally in sorted(tallies, key=lambda tally: (tally.source == NO_SOURCE, tally.source)):
        of.setdefault(tally.source, []).append(tally)
    last: dict[str, datetime] = {}
    for tally in earlier:
        if tally.answer in SIGNED:
            last[tally.source] = max(last.get(tally.source, tally.last_at), tally.last_at)
    return [Heard(name, config.sources.get(name), tuple(found), last.get(name)) for name, found in of.items()]


@click.command()
@config_option
@click.option("--since", default="7d", show_default=True, callback=_since, metavar="7d", help="Whole days, by UTC.")
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="So many repositories of each source, the last heard of first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def sources(config_path: str | None, since: datetime, limit: int, *, as_json: bool) -> None:
    """List who sends: when last, how much, what was refused and why, and repositories that no rule matches.

    A running server counts, and writes the counts down within ten seconds. They are kept 90 days longer than events.
    """
    from bridge import config

    loaded = config.load(config_path, os.environ)

    async def ask(store: Store) -> tuple[list[Heard], dict[str, StoredEvent]]:
        tallies = await store.tallies(since)
        silent = loaded.sources.keys() - {tally.source for tally in tallies if tally.answer in SIGNED}
        found = heard_of(loaded, tallies, await store.tallies(datetime.fromtimestamp(0, UTC)) if silent else tallies)
        ids = {name for heard in found for name in (heard.last("unreadable"), heard.last("ignored")) if name}
        events = [event for name in sorted(ids) if (event := await store.event(name)) is not None]
        return found, {event.id: event for event in events}

    found, events = with_store(ask)
    if as_json:
        click.echo(json.dumps([_json(heard, events, limit) for heard in found], ensure_ascii=False))
        return
    page = _Page(since)
    for heard in found:
        page.tell(heard, events, limit, loaded.server.public_url)
    page.tell_unmatched(found, limit)


# -- as JSON -----------------------------------------------------------------------------------------------------------


def _json(heard: Heard, events: Mapping[str, StoredEvent], limit: int) -> dict[str, Any]:
    return {
        "source": heard.name or None,
        "type": heard.source.type if heard.source else None,
        "path": f"/webhooks/{heard.name}" if heard.source else None,
        "received_at": _iso(heard.heard_at),
        "events": heard.times(*KEPT),
        "accepted": heard.times(*ACCEPTED),
        "unrouted": heard.times("unrouted"),
        "ignored": heard.times("ignored"),
        "unreadable": heard.times("unreadable"),
        "duplicate": heard.times("duplicate"),
        "refused": sum(tally.times for tally in heard.refusals),
        "refusals": [_refusal(tally) for tally in heard.refusals],
        "last_ignored": _last(heard.last("ignored"), events),
        "last_unreadable": _last(heard.last("unreadable"), events),
        "repositories": [_repository(one) for one in heard.repositories[:limit]],
        "unmatched": [one.name for one in heard.unmatched],
    }


def _repository(one: Repository) -> dict[str, Any]:
    return {
        "repository": one.name,
        "events": one.events,
        "unrouted": one.unrouted,
        "received_at": _iso(one.received_at),
    }


def _refusal(tally: Tally) -> dict[str, Any]:
    status, meaning, advice = REFUSALS.get(tally.answer, (None, tally.answer, None))
    return {
        "reason": tally.answer,
        "status": status,
        "requests": tally.times,
        "received_at": _iso(tally.last_at),
        "meaning": meaning,
        "advice": advice,
    }


def _last(event_id: str | None, events: Mapping[str, StoredEvent]) -> dict[str, Any] | None:
    """Return an event that may be forgotten by now; its id and that it came are known all the same."""
    if event_id is None:
        return None
    event = events.get(event_id)
    return {
        "id": event_id,
        "reason": event.problem if event else None,
        "received_at": _iso(event.received_at if event else None),
    }


def _iso(when: datetime | None) -> str | None:
    return when.isoformat().replace("+00:00", "Z") if when else None


# -- for people --------------------------------------------------------------------------------------------------------


class _Page:
    """What people read, no wider than their terminal."""

    def __init__(self, since: datetime) -> None:
        self.since = since.astimezone(UTC).date()
        self.width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))

    def tell(self, heard: Heard, events: Mapping[str, StoredEvent], limit: int, public_url: str | None) -> None:
        if not heard.name:
            self._refusals(heard, indent="")
            click.echo()
            return
        self._head(heard)
        self._lasts(heard, events)
        self._refusals(heard)
        if heard.heard_at is None and not heard.refusals and heard.source is not None:
            url = f"{(public_url or 'https://HOST').rstrip('/')}/webhooks/{heard.name}"
            self._say(f"to set it up: {heard.source.module.SETUP.format(url=url)}")
            self._say(f"more: docs/sources/{heard.source.type}.md")
        self._repositories(heard, limit)
        click.echo()

    def _head(self, heard: Heard) -> None:
        source = heard.source
        where = f"{source.module.LABEL}, /webhooks/{heard.name}" if source else "not in the configuration any more"
        self._say(f"{heard.name}: {where}", indent="")
        self._say(f"last event: {f'{_ago(heard.heard_at)} ago' if heard.heard_at else 'never'}")
        counted = [(name, heard.times(*answers)) for name, answers in COUNTED.items()]
        words = ", ".join(f"{times} {name}" for name, times in counted if times)
        self._say(f"since {self.since}: {words or 'nothing'}")

    def _lasts(self, heard: Heard, events: Mapping[str, StoredEvent]) -> None:
        for answer in ("ignored", "unreadable"):
            event_id = heard.last(answer)
            if event_id is None:
                continue
            event = events.get(event_id)
            reason = one_line(event.problem) if event else "no longer kept"
            self._say(f"last {answer}: {reason} (bridge show {event_id})")

    def _refusals(self, heard: Heard, indent: str = "  ") -> None:
        for tally in heard.refusals:
            status, meaning, advice = REFUSALS.get(tally.answer, ("", tally.answer, ""))
            self._say(f"refused {tally.times}, last {_ago(tally.last_at)} ago: {status} {meaning}", indent=indent)
            self._say(f"-> {advice}", indent=f"{indent}  ")

    def _repositories(self, heard: Heard, limit: int) -> None:
        found = heard.repositories
        if not found or not limit:
            return
        head = (f"{'events':>8}", f"{'no rule':>8}", "last")
        self._row("repository", head)
        for one in found[:limit]:
            cells = f"{one.events:>8}", f"{one.unrouted:>8}", f"{_ago(one.received_at)} ago"
            self._row(one.name, cells)
        if len(found) > limit:
            self._say(f"and {len(found) - limit} more: --limit {len(found)}")

    def _row(self, name: str, cells: tuple[str, str, str]) -> None:
        room = self.width - 2 - 9 - 9 - 2 - 15  # what the figures and the longest time leave
        shown = one_line(name)
        shown = shown if len(shown) <= room else f"{shown[: room - 1]}…"
        click.echo(f"  {shown:<{room}} {cells[0]} {cells[1]}  {cells[2]}")

    def tell_unmatched(self, found: list[Heard], limit: int) -> None:
        rows = [(heard.name, one) for heard in found for one in heard.unmatched]
        if not rows:
            return
        self._say(f"No rule matched anything of these repositories since {self.since}:", indent="")
        for name, one in rows[:limit]:
            events = f"{one.events} event{'s' if one.events != 1 else ''}"
            self._say(f"{one_line(one.name)} ({name}): {events}, last {_ago(one.received_at)} ago")
        if len(rows) > limit:
            self._say(f"and {len(rows) - limit} more: --limit {len(rows)}")
        self._say(
            "A rule hears pushes, change requests, tasks and audit events only where it names their kind.", indent=""
        )
        self._say("To see why: bridge events --state unrouted, then bridge show ID", indent="")

    def _say(self, text: str, indent: str = "  ") -> None:
        click.echo(
            textwrap.fill(
                text,
                self.width,
                initial_indent=indent,
                subsequent_indent=f"{indent}  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
