"""What does it cost to accept an event, synced to the disk before the 202?

Two servers on loopback, each a process of its own, in turns: the real ``bridge serve`` (SQLite, 100 rules of which none
matches), and an aiohttp server that reads the body, checks the HMAC and answers 202, and keeps nothing. The second is
the limit; the ratio is what counts, since machines differ and are noisy. Nothing leaves the machine.

    python -m benchmarks.accept [--seconds 4] [--rounds 3] [--connections 64] [--folder DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from bridge.store.sqlite import _connect

SECRET = "a-secret-of-the-benchmark"
REPOSITORIES = 20
RULES = 100
STATES = (("queued", None), ("in_progress", None), ("completed", "success"))
GOALS = {"github": 0.50, "cirrus": 0.50}
COLUMNS = ("per_second", "p50_ms", "p99_ms", "cpu_us")

Requests = Iterator[bytes]


# -- the bare server: the limit ----------------------------------------------------------------------------------------


async def bare(request: web.Request) -> web.Response:
    body = await request.read()
    given = request.headers.get("X-Hub-Signature-256", request.headers.get("X-Cirrus-Signature", ""))
    right = hmac.digest(SECRET.encode(), body, "sha256").hex()
    if not hmac.compare_digest(right.encode(), given.removeprefix("sha256=").encode()):
        return web.json_response({"status": 401}, status=401)
    return web.json_response({"id": "e1", "status": "accepted"}, status=202)


def serve_bare(port: int) -> None:
    app = web.Application(client_max_size=25 * 1024 * 1024)
    app.router.add_post("/webhooks/{source}", bare)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


# -- the requests ------------------------------------------------------------------------------------------------------


class Signed:
    """Bodies that differ only at their end: what they share is hashed once, so that the sender is not the brake."""

    def __init__(self, path: str, headers: str, signature: str, body: str) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n{headers}\r\n"
        self._signature = signature
        self._body = body.encode()
        self._hash = hmac.new(SECRET.encode(), self._body, hashlib.sha256)
        self.size = len(body)

    def request(self, number: int, end: str) -> bytes:
        last = end.encode()
        digest = self._hash.copy()
        digest.update(last)
        head = (
            f"{self._head}X-GitHub-Delivery: {number:012d}\r\n{self._signature}{digest.hexdigest()}\r\n"
            f"Content-Length: {len(self._body) + len(last)}\r\n\r\n"
        )
        return b"".join((head.encode(), self._body, last))


def github() -> tuple[Requests, int]:
    """Whole runs (queued, running, done) of some repositories, as GitHub sends them, and the size of one body."""
    shapes = [[_workflow_run(repository, *state) for state in STATES] for repository in range(REPOSITORIES)]

    def requests() -> Requests:
        for number in itertools.count(1):
            run, state = divmod(number, len(STATES))
            yield shapes[run % REPOSITORIES][state].request(number, f'"run_number":{run},"id":{10_000_000 + run}}}}}')

    return requests(), shapes[0][0].size + 40


def _workflow_run(number: int, status: str, conclusion: str | None) -> Signed:
    """GitHub's body is mostly addresses: every object links to all that belongs to it."""
    name = f"acme/service-{number}"
    api, site = f"https://api.github.com/repos/{name}", f"https://github.com/{name}"
    user = {"login": "octocat", "id": 583231, "type": "User", "html_url": "https://github.com/octocat"}
    user |= {f"{each}_url": f"https://api.github.com/users/octocat/{each}" for each in _USER}
    repository = {"id": 4000 + number, "name": f"service-{number}", "full_name": name, "private": False, "owner": user}
    repository |= {"html_url": site, "default_branch": "main", "description": "Counts parcels, twice when in doubt"}
    repository |= {f"{each}_url": f"{api}/{each}{{/other}}" for each in _REPOSITORY}
    run: dict[str, Any] = {
        "name": "CI",
        "display_title": "Count parcels twice",
        "event": "push",
        "status": status,
        "conclusion": conclusion,
        "run_attempt": 1,
        "head_branch": "main",
        "head_sha": "4f1d2c3b5a69788796a5b4c3d2e1f00112233445",
        "head_commit": {"message": "Count parcels twice", "author": {"name": "Octo Cat", "email": "octo@example.com"}},
        "actor": user,
        "triggering_actor": user,
        "pull_requests": [],
        "created_at": "2026-03-02T08:00:00Z",
        "run_started_at": "2026-03-02T08:00:00Z",
        "updated_at": f"2026-03-02T08:00:{len(status):02d}Z",
        "html_url": f"{site}/actions/runs/1",
        "repository": repository,
        "head_repository": repository,
    }
    body = {"action": status, "sender": user, "repository": repository, "workflow_run": run}
    headers = "User-Agent: GitHub-Hookshot/0000000\r\nAccept: */*\r\nX-GitHub-Event: workflow_run"
    text = json.dumps(body, separators=(",", ":"))[:-2] + ","
    return Signed("/webhooks/github", headers, "X-Hub-Signature-256: sha256=", text)


_USER = "followers following gists starred subscriptions organizations repos events received_events".split()
_REPOSITORY = (
    "forks keys collaborators teams hooks issue_events events assignees branches tags blobs git_tags git_refs trees "
    "statuses languages stargazers contributors subscribers subscription commits git_commits comments issue_comment "
    "contents compare merges archive downloads issues pulls milestones notifications labels releases deployments git "
    "ssh clone svn mirror environments secrets variables caches artifacts runners workflows dispatches rulesets "
    "topics traffic invitations autolinks pages projects properties codespaces"
).split()


def cirrus() -> tuple[Requests, int]:
    """Tasks of builds, as Cirrus CI sends them, and the size of one body."""
    start = {
        "old_status": "EXECUTING",
        "action": "updated",
        "repository": {"id": 4611686018427001, "owner": "acme", "name": "app", "isPrivate": False},
    }
    build = (
        '"build":{"branch":"main","changeIdInRepo":"77aa77aa77aa77aa77aa77aa77aa77aa77aa77aa","changeTimestamp":'
        '1767258600000,"changeMessageTitle":"Count retries once (#40)","durationInSeconds":90,"status":"EXECUTING",'
        '"user":{"id":4611686018427201,"username":"octocat"},"id":%d},"task":{"name":"test (freebsd)",'
        '"nameAlias":"test","status":"COMPLETED","statusTimestamp":1767258700500,"creationTimestamp":1767258605000,"durationInSeconds":88,'
        '"uniqueLabels":["freebsd"],"automaticReRun":false,"instanceType":"CommunityContainer","notifications":[],"id":%d}}'
    )
    shared = Signed(
        "/webhooks/cirrus",
        "X-Cirrus-Event: task\r\nX-Cirrus-Timestamp: 1767258700999",
        "X-Cirrus-Signature: ",
        json.dumps(start, separators=(",", ":"))[:-1] + ",",
    )

    def requests() -> Requests:
        for number in itertools.count(1):
            yield shared.request(number, build % (10_000_000 + number // 8, number))

    return requests(), shared.size + len(build) + 10


CASES: dict[str, Callable[[], tuple[Requests, int]]] = {"github": github, "cirrus": cirrus}


# -- the load ----------------------------------------------------------------------------------------------------------


class Sender(asyncio.Protocol):
    """One connection that always has one request under way, until the time is over."""

    def __init__(self, requests: Requests, until: float, latencies: list[float], refused: list[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests, self._until, self._latencies, self._refused = requests, until, latencies, refused
        self._answer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"}"):  # all answers are one small JSON object
            return
        now = time.perf_counter()
        if self._answer.startswith(b"HTTP/1.1 202 "):
            self._latencies.append(now - self._sent)
        else:
            self._refused.append(self._answer)
        self._answer = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, requests: Requests, seconds: float, connections: int, process: int) -> dict[str, float]:
    """Send as fast as the answers come; return how many per second were accepted, and what one took (its COLUMNS)."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    refused: list[bytes] = []
    begun, worked = time.perf_counter(), cpu_seconds(process)
    until = begun + seconds
    opening = (
        loop.create_connection(lambda: Sender(requests, until, latencies, refused), "127.0.0.1", port)
        for _ in range(connections)
    )
    opened = await asyncio.gather(*opening)
    await asyncio.gather(*(sender.done for _, sender in opened))
    took = time.perf_counter() - begun
    if refused or not latencies:
        raise SystemExit(f"{len(refused)} requests were not accepted, the first: {refused[:1]!r}")
    latencies.sort()
    return {
        "accepted": len(latencies),
        "per_second": len(latencies) / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
        "cpu_us": (cpu_seconds(process) - worked) / len(latencies) * 1e6,
    }


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has used; 0 where the system does not tell it this way."""
    try:
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


# -- the servers -------------------------------------------------------------------------------------------------------


@contextmanager
def server(arguments: list[str], port: int, folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """Run a server in a process of its own, give its id once it answers, and end it."""
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *arguments], env=os.environ | environ, stdout=log, stderr=log)
        try:
            _wait(process, port)
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the server on port {port} ended by itself ({process.returncode})")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"the server on port {port} does not answer")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def configuration() -> str:
    """A bridge that keeps all and tells nobody: no rule matches."""
    rules = [
        {
            "name": f"rule {number}",
            "match": {"repository": [f"other/repo-{number}", "other/**"], "branch": ["main", "release/**"]},
            "to": "nowhere",
        }
        for number in range(RULES)
    ]
    return json.dumps(
        {
            "version": "1",
            "sources": {name: {"type": name, "secret": SECRET} for name in CASES},
            "destinations": {"nowhere": {"type": "slack", "url": "http://127.0.0.1:9/nobody"}},
            "rules": rules,
        }
    )


# -- the disk ----------------------------------------------------------------------------------------------------------


def sync_ms(folder: Path) -> float:
    """How long the disk takes to sync a few kilobytes: about nothing on a disk in memory."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def durable(database: Path) -> tuple[int, int]:
    """Return what bridge's own connection sets as PRAGMA synchronous, and how many events are kept."""
    db = _connect(database)
    try:
        return db.execute("PRAGMA synchronous").fetchone()[0], db.execute("SELECT count(*) FROM events").fetchone()[0]
    except sqlite3.Error as error:
        raise SystemExit(f"cannot read {database.name}: {error}") from error
    finally:
        db.close()


# -- the run -----------------------------------------------------------------------------------------------------------


def measure(folder: Path, seconds: float, rounds: int, connections: int) -> dict[str, Any]:
    ports = {"bare": free_port(), "bridge": free_port()}
    config, database = folder / "config.yaml", folder / "bridge.db"
    config.write_text(configuration())
    serve = ["-m", "bridge", "serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(ports["bridge"])]
    results: dict[str, dict[str, list[dict[str, float]]]] = {case: {name: [] for name in ports} for case in CASES}
    sources = {case: make() for case, make in CASES.items()}
    accepted = 0
    with (
        server(["-m", "benchmarks.accept", "--bare", str(ports["bare"])], ports["bare"], folder, {}) as bare_id,
        server(serve, ports["bridge"], folder, {"DATABASE_URL": f"sqlite:///{database}"}) as bridge_id,
    ):
        ids = {"bare": bare_id, "bridge": bridge_id}
        for number in range(rounds + 1):  # the first is short and does not count: everybody warms up
            for case, (requests, _) in sources.items():
                for name, port in ports.items():
                    found = asyncio.run(load(port, requests, seconds if number else 0.5, connections, ids[name]))
                    accepted += int(found["accepted"]) if name == "bridge" else 0
                    if number:
                        results[case][name].append(found)
    synchronous, kept = durable(database)
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "sync_ms": sync_ms(folder)},
        "connections": connections,
        "seconds": seconds,
        "synchronous": synchronous,
        "accepted": accepted,
        "kept": kept,
        "bytes": {case: size for case, (_, size) in sources.items()},
        "rounds": results,
        "ratio": {case: _ratio(found) for case, found in results.items()},
    }


def _ratio(found: dict[str, list[dict[str, float]]]) -> float:
    """The median over the rounds of bridge's rate by the bare server's of the same round."""
    return statistics.median(
        mine["per_second"] / limit["per_second"] for mine, limit in zip(found["bridge"], found["bare"], strict=True)
    )


def show(report: dict[str, Any]) -> None:
    machine = report["machine"]
    print(f"{machine['cpus']} cores, Python {machine['python']}, one sync takes {machine['sync_ms']:.2f} ms")
    print(f"{report['connections']} connections, {RULES} rules, rounds of {report['seconds']:g} s, medians\n")
    print(f"{'':30} {'accepted/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>9}   ratio")
    for case, found in report["rounds"].items():
        for name, rounds in found.items():
            what = f"{case} {report['bytes'][case] / 1000:.1f} kB, {name}"
            rate, p50, p99, cpu = (statistics.median(each[key] for each in rounds) for key in COLUMNS)
            last = f"{report['ratio'][case]:.2f} (goal {GOALS[case]:.2f})" if name == "bridge" else "1.00"
            print(f"{what:30} {rate:10,.0f} {p50:8.2f} {p99:8.2f} {cpu:9.0f}   {last}")
    print(f"\nPRAGMA synchronous = {report['synchronous']} (2: synced before each 202)")
    print(f"{report['accepted']:,} answered 202, {report['kept']:,} in the database")


def main() -> None:
    parser = argparse.ArgumentParser(description="What accepting an event costs, beside a server that keeps nothing.")
    parser.add_argument("--seconds", type=float, default=4, help="how long one round takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--folder", help="where the database is made: the disk that counts (default: the system's)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        serve_bare(given.bare)
        return
    with tempfile.TemporaryDirectory(prefix="bridge-bench-", dir=given.folder) as folder:
        report = measure(Path(folder), given.seconds, given.rounds, given.connections)
    show(report)
    if given.json:
        Path(given.json).write_text(json.dumps(report, indent=2) + "\n")
    if report["synchronous"] != 2 or report["kept"] != report["accepted"]:
        raise SystemExit("something that was answered with 202 is not in the database, or was not synced")


if __name__ == "__main__":
    main()
