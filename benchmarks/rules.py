"""What do ten thousand rules cost? The CPU of one event, in the deciding alone and in the running server.

Most rules name a repository or an owner, one in fifty has a pattern for all owners; none matches. Deciding is measured
twice: with 20 repositories, which it remembers, and with repositories that it has never seen.
"""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from datetime import UTC, datetime

from benchmarks.accept import CONNECTIONS, WARM_UP
from benchmarks.bodies import REPOSITORIES, cirrus_tasks
from benchmarks.context import Context
from benchmarks.load import run, saturate
from benchmarks.row import Row, at_most, middle
from benchmarks.servers import configuration, write_configuration
from bridge.config import load
from bridge.event import Event, Kind, RunRef, Status
from bridge.receive import Deciding

SIZES = (10, 100, 1_000, 10_000)
EVENTS = 4_000
NEW_EVENTS = 20  # of repositories that were never seen before
MORE = at_most(15)


def measure(context: Context) -> list[Row]:
    return _alone(context) + _served(context)


def _alone(context: Context) -> list[Row]:
    folder = context.new_folder("rules")
    configs = {size: write_configuration(folder, configuration(rules=size), f"{size}.yaml") for size in SIZES}
    deciding = {size: Deciding(load(str(path), {}).rules) for size, path in configs.items()}
    known = [_event(number, number % REPOSITORIES) for number in range(EVENTS)]
    fresh = itertools.count(REPOSITORIES)
    found: dict[str, dict[int, list[float]]] = {each: {size: [] for size in SIZES} for each in ("known", "new")}
    for number in range(context.rounds + 1):
        for size, each in deciding.items():
            new = [_event(number, repository) for repository in itertools.islice(fresh, NEW_EVENTS)]
            took = {"known": _decide(each, known), "new": _decide(each, new)}
            for what, times in found.items():
                times[size] += [took[what]] if number else []
    return [
        _more("rules.alone", f"deciding, {REPOSITORIES} repositories", found["known"], "deciding with 10,000 rules"),
        _more("rules.alone.new", "deciding, a repository never seen", found["new"], "the same, a new repository"),
    ]


def _event(number: int, repository: int) -> Event:
    return Event(
        source="github",
        type="github",
        kind=Kind.PIPELINE,
        status=Status.SUCCESS,
        repository=f"acme/service-{repository}",
        branch="main",
        pipeline="CI",
        author="octocat",
        run=RunRef(id=str(number), number=number, attempt=1),
        received_at=datetime(2026, 3, 2, 8, tzinfo=UTC),
    )


def _decide(deciding: Deciding, events: list[Event]) -> float:
    """Return the CPU of deciding one event, in µs."""
    begun = time.process_time()
    for event in events:
        deciding.second(deciding.first(event, None, repeat=False, sent_at=None), None)
    return (time.process_time() - begun) / len(events) * 1e6


def _served(context: Context) -> list[Row]:
    requests = cirrus_tasks(numbers=context.numbers)
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    with ExitStack() as stack:
        servers = {size: stack.enter_context(context.bridge(configuration(rules=size))) for size in SIZES}
        for number in range(context.rounds + 1):
            turns = list(servers.items())
            for size, server in turns if number % 2 else reversed(turns):
                worked = server.cpu_seconds
                sent = run(saturate(server.port, requests, context.seconds / 2 if number else WARM_UP, CONNECTIONS))
                cpu_us = (server.cpu_seconds - worked) / max(1, len(sent.accepted)) * 1e6
                if number:
                    found[size].append(cpu_us)
    return [_more("rules.served", "accepting in the server, Cirrus", found, "accepting with 10,000 rules")]


def _more(key: str, what: str, found: dict[int, list[float]], title: str) -> Row:
    """Return what the most rules cost more than the fewest, round by round."""
    fewest, most = SIZES[0], SIZES[-1]
    more = tuple(many - few for many, few in zip(found[most], found[fewest], strict=True))
    beside = ", ".join(f"{size:,} rules {middle(each):.1f}" for size, each in found.items()) + " µs"
    return Row(key, f"{what}: 10,000 rules", more, "µs more", MORE, beside, title=title)
