"""What does it cost to accept an event, synced to the disk before the 202?

The real ``bridge serve`` (SQLite) beside an aiohttp server that reads the body, checks the HMAC, answers 202 and keeps
nothing: that is the limit. All run at once and are loaded in turns; each round gives one ratio. With rules that match,
every event also writes a delivery; nobody listens where it goes, so that little else is measured. The same again with
2 ms more for each sync.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bodies import Requests, cirrus_tasks, github_results, github_runs, size
from benchmarks.context import Context
from benchmarks.load import run, saturate
from benchmarks.row import Goal, Row, at_least, middle
from benchmarks.servers import Absent, Server, configuration
from benchmarks.syncs import Syncs, counted

CONNECTIONS = 64
RULES = 100
SLOWER_MS = 2.0
WARM_UP = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, to one of the servers, beside the limit."""

    key: str
    what: str
    server: str
    requests: Callable[..., Requests]
    goal: Goal | None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    syncs: int
    accepted: int


CASES = (
    Case("accept.github", "accept, synced, GitHub", "quiet", github_runs, at_least(0.50)),
    Case("accept.cirrus", "accept, synced, Cirrus", "quiet", cirrus_tasks, at_least(0.50)),
    Case("accept.github.matched", "the same with rules that match", "matching", github_results, None),
    Case(
        "accept.github.slow",
        f"the same on a disk {SLOWER_MS:g} ms slower",
        "slow",
        github_runs,
        at_least(0.35),
        "accept, a slower disk",
    ),
)
STEPS = {
    "read": "   the limit, when it also reads the event",
    "keep": "   and keeps one row of it, synced: the least",
}
UNREACHABLE = "http://127.0.0.1:9"  # the port "discard": nobody listens


def measure(context: Context) -> list[Row]:
    with ExitStack() as stack:
        servers = {"bare": stack.enter_context(context.bare())}
        folders: dict[str, Path] = {}
        for name in ("quiet", "matching", "slow"):
            if name == "slow" and isinstance(context.syncs, str):
                continue
            folders[name] = context.new_folder(f"accept-{name}")
            configured = configuration(rules=RULES, chat=UNREACHABLE if name == "matching" else "")
            environ = _environ(context, folders[name], SLOWER_MS if name == "slow" else 0)
            servers[name] = stack.enter_context(context.bridge(configured, folder=folders[name], environ=environ))
        rows = []
        kept = dict.fromkeys(folders, 0)
        for case in CASES:
            what = f"{case.what} {size(case.requests):.1f} kB"
            if case.server not in servers:
                rows.append(Row(case.key, what, goal=case.goal, missing=str(context.syncs)))
                continue
            limits, rounds = _rounds(context, case, servers["bare"], servers[case.server], folders[case.server])
            kept[case.server] += sum(each.accepted for each in rounds)
            counts = isinstance(context.syncs, Syncs)
            rows += _rows(case, what, limits[1:], rounds[1:], counts=counts)
            if case.key == "accept.github":
                rows += _steps(context, case, servers["bare"])
    for name, folder in folders.items():
        _check_kept(folder / "bridge.db", kept[name])
    return rows


def _steps(context: Context, case: Case, bare: Server) -> list[Row]:
    """Return what of the limit is left when something is read, and when the least is kept, that anybody has to."""
    rows = []
    folder = context.new_folder("accept-steps")
    for step, what in STEPS.items():
        with context.bare("--step", step, str(folder / "least.db")) as server:
            limits, rounds = _rounds(context, case, bare, server, folder)
        rows += _rows(replace(case, key=f"accept.{step}", goal=None), what, limits[1:], rounds[1:], counts=False)
    return rows


def _environ(context: Context, folder: Path, wait_ms: float) -> dict[str, str]:
    if isinstance(context.syncs, str):
        return {}
    return context.syncs.environ(folder / "syncs", wait_ms)


def _rounds(
    context: Context, case: Case, bare: Server, server: Server, folder: Path
) -> tuple[list[Round], list[Round]]:
    """Return the rounds of the limit and of bridge; the first of each is short: everybody warms up."""
    requests = case.requests(numbers=context.numbers)
    limits, rounds = [], []
    for number in range(context.rounds + 1):
        seconds = context.seconds if number else min(WARM_UP, context.seconds)
        limits.append(_round(bare, requests, seconds, None))
        rounds.append(_round(server, requests, seconds, folder / "syncs"))
    context.say(f"{case.what}: {middle([each.per_second for each in rounds]):,.0f}/s")
    return limits, rounds


def _round(server: Server, requests: Requests, seconds: float, counter: Path | None) -> Round:
    def syncs() -> int:
        return counted(counter) if counter is not None and counter.exists() else 0

    worked, synced = server.cpu_seconds, syncs()
    sent = run(saturate(server.port, requests, seconds, CONNECTIONS))
    if sent.refused or not sent.accepted:
        raise Absent(f"{server.name} refused {sent.refused} requests, the first: {sent.first_refusal!r}")
    accepted = len(sent.accepted)
    return Round(
        per_second=sent.per_second,
        p50_ms=sent.latency_ms(50),
        p99_ms=sent.latency_ms(99),
        cpu_us=(server.cpu_seconds - worked) / accepted * 1e6,
        syncs=syncs() - synced,
        accepted=accepted,
    )


def _rows(case: Case, what: str, limits: list[Round], rounds: list[Round], *, counts: bool) -> list[Row]:
    mine, limit = (middle([each.per_second for each in found]) for found in (rounds, limits))
    cpu, cpu_limit = (middle([each.cpu_us for each in found]) for found in (rounds, limits))
    p50, p99 = middle([each.p50_ms for each in rounds]), middle([each.p99_ms for each in rounds])
    ratios = tuple(each.per_second / other.per_second for each, other in zip(rounds, limits, strict=True))
    beside = f"{mine:,.0f} of {limit:,.0f}/s, p50 {p50:.1f} p99 {p99:.1f} ms, CPU {cpu:.0f} µs of {cpu_limit:.0f}"
    rows = [Row(case.key, what, ratios, "of bare", case.goal, beside, title=case.title)]
    if counts:
        per_sync = tuple(each.accepted / max(1, each.syncs) for each in rounds)
        syncs = middle([each.syncs / (each.accepted / each.per_second) for each in rounds])
        rows.append(Row(f"{case.key}.syncs", "   events per fsync", per_sync, "", None, f"{syncs:,.0f} syncs/s"))
    return rows


def _check_kept(database: Path, accepted: int) -> None:
    """Raise Absent when something that was answered with 202 is not in the database."""
    db = sqlite3.connect(database)
    try:
        (kept,) = db.execute("SELECT count(*) FROM events").fetchone()
    finally:
        db.close()
    if kept != accepted:
        raise Absent(f"{accepted:,} events were answered with 202, and {kept:,} are in the database")
