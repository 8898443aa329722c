"""Does `bridge sources` show who sends, what was refused and why, and whom no rule hears, as the server counted it?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.app import Bridge
from bridge.cli import bridge
from bridge.cli.sources import REFUSALS
from bridge.config import load
from bridge.errors import StoreUnavailable
from bridge.store import open_store
from bridge.store.base import NO_SOURCE, Store, Tally
from bridge.tally import LONGEST, MOST, Tallies
from tests.arrivals import NOON
from tests.http.wire import Client
from tests.running import GITHUB_SECRET, ROOT, github_run

CONFIG = f"""
version: 1
server: {{max_body: 64KiB, public_url: "https://bridge.example.com/"}}
sources:
  github: {{type: github, secret: {GITHUB_SECRET}}}
  cirrus: {{type: cirrus, secret: made-up-cirrus-secret}}
destinations:
  out: {{type: console}}
rules:
  - {{name: app, match: {{repository: acme/app}}, to: out}}
"""


def of(repository: str, body: bytes) -> bytes:
    return body.replace(b"acme/app", repository.encode())


async def send_everything(client: Client) -> None:
    """Two that a rule wants, one of another repository, and one of every other kind of answer."""
    one = github_run(1, "completed", "failure")
    for body in (one, github_run(2, "in_progress"), of("acme/spare", github_run(3, "completed", "success"))):
        assert (await client.post(body, secret=GITHUB_SECRET)).status == 202
    assert (await client.post(one, secret=GITHUB_SECRET, delivery="delivery-1")).json["status"] == "duplicate"
    ping = await client.post(b'{"zen": "Made up."}', secret=GITHUB_SECRET, X_GitHub_Event="ping")
    assert ping.json["status"] == "ignored"
    assert (await client.post(b"no JSON", secret=GITHUB_SECRET)).json["status"] == "unreadable"
    for _ in range(2):
        assert (await client.post(one, secret="another secret")).status == 401
    assert (await client.post(b"x" * 65_537, secret=GITHUB_SECRET)).status == 413
    assert (await client.post(one, secret=GITHUB_SECRET, Content_Type="text/csv")).status == 415
    assert (await client.post(one, secret=GITHUB_SECRET, Content_Length="9999")).status == 408
    for name in ("gitbuh", "admin", "x" * 500, "%00"):
        assert (await client.request("POST", f"/webhooks/{name}")).status == 404


async def serve(folder: Path, work: Callable[[Client], Awaitable[None]]) -> None:
    app = Bridge(
        load(str(folder / "config.yaml"), {}),
        environ={"DATABASE_URL": f"sqlite:///{folder}/bridge.db"},
        role="web",
        read_within=timedelta(milliseconds=100),
    )
    await app.start("127.0.0.1", 0)
    try:
        await work(Client(app))
    finally:
        await app.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/bridge.db")
    monkeypatch.setenv("BRIDGE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Path:
    asyncio.run(serve(folder, send_everything))
    return folder


def tell(folder: Path, *tallies: Tally) -> None:
    async def write() -> None:
        store = await open_store(f"sqlite:///{folder}/bridge.db")
        await store.tally(tallies)
        await store.close()

    asyncio.run(write())


def run(*words: str) -> Result:
    done = CliRunner().invoke(bridge, ("sources", *words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def listed(*words: str) -> list[dict[str, Any]]:
    return json.loads(run("--json", *words).output)  # type: ignore[no-any-return]


# -- end to end


@pytest.mark.usefixtures("served")
def test_every_answer_is_counted_by_source_and_reason() -> None:
    github, cirrus, strangers = listed()
    assert (github["source"], github["type"], github["path"]) == ("github", "github", "/webhooks/github")
    counted = ("events", "accepted", "unrouted", "ignored", "unreadable", "duplicate", "refused")
    assert [github[name] for name in counted] == [5, 3, 1, 1, 1, 1, 5]
    refused = {one["reason"]: (one["status"], one["requests"]) for one in github["refusals"]}
    assert refused == {"signature": (401, 2), "size": (413, 1), "type": (415, 1), "slow": (408, 1)}
    assert github["refusals"][0]["reason"] == "signature", "the most common one first"
    assert "secret here and the one at the sender differ" in github["refusals"][0]["advice"]
    assert datetime.now(UTC) - datetime.fromisoformat(github["received_at"]) < timedelta(minutes=1)
    assert (cirrus["source"], cirrus["received_at"], cirrus["events"]) == ("cirrus", None, 0)
    assert (strangers["source"], strangers["type"], strangers["path"]) == (None, None, None)
    assert [(one["reason"], one["requests"]) for one in strangers["refusals"]] == [("unknown", 4)]


@pytest.mark.usefixtures("served")
def test_the_last_event_that_could_not_be_read_is_named_with_the_reason() -> None:
    github = listed()[0]
    assert github["last_unreadable"]["id"] == "e5"
    assert "JSON" in github["last_unreadable"]["reason"]
    assert github["last_ignored"]["id"] == "e4"
    assert "last unreadable: " in run().output
    assert "(bridge show e5)" in " ".join(run().output.split())


@pytest.mark.usefixtures("served")
def test_repositories_are_listed_and_those_that_no_rule_matches_named() -> None:
    github = listed()[0]
    assert [(one["repository"], one["events"], one["unrouted"]) for one in github["repositories"]] == [
        ("acme/spare", 1, 1),
        ("acme/app", 2, 0),
    ]
    assert github["unmatched"] == ["acme/spare"]
    last = run().output.partition("No rule matched")[2]
    assert "acme/spare (github): 1 event" in last
    assert "acme/app" not in last


def test_of_strangers_only_their_number_is_kept(served: Path) -> None:
    kept = b"".join(path.read_bytes() for path in served.glob("bridge.db*"))
    for told in (b"gitbuh", b"admin", b"xxxxxxxxxx", b"text/csv", b"127.0.0.1"):
        assert told not in kept


def test_a_running_server_writes_its_counts_by_itself(folder: Path) -> None:
    async def look(client: Client) -> None:
        app = client.bridge
        assert app._tallies is not None
        app._tallies._soon = 0.0
        await client.request("POST", "/webhooks/nobody")
        assert app._tallies._keeping is not None
        await app._tallies._keeping
        assert [one.times for one in await app._require_store().tallies(datetime.now(UTC))] == [1]

    asyncio.run(serve(folder, look))


# -- what people read


@pytest.mark.usefixtures("served")
def test_the_page_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run().output.splitlines()
        assert max(map(len, lines)) <= columns, columns
        assert any("acme/app" in line for line in lines)


@pytest.mark.usefixtures("served")
def test_a_source_that_was_never_heard_says_where_to_click() -> None:
    cirrus = " ".join(run().output.partition("cirrus: ")[2].partition("\n\n")[0].split())
    assert "last event: never" in cirrus
    assert "https://bridge.example.com/webhooks/cirrus" in cirrus
    assert "docs/sources/cirrus.md" in cirrus


def test_a_source_that_is_only_refused_hears_why_and_not_how_to_begin(folder: Path) -> None:
    tell(folder, Tally("cirrus", "signature", "", 3, datetime.now(UTC)))
    cirrus = " ".join(run().output.partition("cirrus: ")[2].partition("\n\n")[0].split())
    assert "refused 3, last 0 s ago: 401" in cirrus
    assert "differ" in cirrus
    assert "set it up" not in cirrus


def test_silence_since_then_is_not_never(folder: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=20)
    tell(folder, Tally("cirrus", "routed", "acme/app", 3, then, 7))
    (_, cirrus) = listed()
    assert (cirrus["events"], cirrus["received_at"]) == (0, then.isoformat().replace("+00:00", "Z"))
    assert listed("--since", "21d")[1]["events"] == 3
    assert "last event: 20 d ago" in run().output


def test_a_refusal_is_no_sign_of_life(folder: Path) -> None:
    tell(folder, Tally("cirrus", "signature", "", 3, datetime.now(UTC)))
    assert listed()[1]["received_at"] is None


def test_a_source_that_the_configuration_has_lost_is_still_told(folder: Path) -> None:
    tell(folder, Tally("old", "routed", "acme/app", 3, datetime.now(UTC), 7))
    old = listed()[2]
    assert (old["source"], old["type"], old["path"], old["events"]) == ("old", None, None, 3)
    assert "not in the configuration any more" in run().output


def test_only_so_many_repositories_are_listed_the_last_heard_of_first(folder: Path) -> None:
    now = datetime.now(UTC)
    told = (Tally("github", "unrouted", f"acme/{n}", 1, now - timedelta(seconds=n), n) for n in range(30))
    tell(folder, *told)
    github = listed("--limit", "2")[0]
    assert [one["repository"] for one in github["repositories"]] == ["acme/0", "acme/1"]
    assert len(github["unmatched"]) == 30
    shown = run().output
    assert shown.count("and 10 more: --limit 30") == 2
    assert "acme/0" not in run("--limit", "0").output.partition("No rule")[0]


def test_a_name_that_would_rewrite_the_screen_does_not(folder: Path) -> None:
    tell(folder, Tally("github", "unrouted", "acme/\x1b[2J", 1, datetime.now(UTC), 1))
    assert "\x1b" not in run().output
    assert "acme/·[2J" in run().output


def test_an_answer_that_a_newer_bridge_counted_is_shown_as_it_is_called(folder: Path) -> None:
    tell(folder, Tally("github", "moonlight", "", 1, datetime.now(UTC)))
    assert listed()[0]["refusals"][0]["reason"] == "moonlight"
    assert "moonlight" in run().output


def test_a_time_that_makes_no_sense_and_a_database_that_is_not_there_are_said_in_words(folder: Path) -> None:
    assert CliRunner().invoke(bridge, ["sources", "--since", "yesterday"]).exit_code == 2
    done = CliRunner().invoke(bridge, ["sources"])
    assert (done.exit_code, "there is no database" in done.output) == (1, True)
    assert not (folder / "bridge.db").exists()


# -- the page about it


def test_every_reason_and_every_field_is_in_the_docs(folder: Path) -> None:
    tell(folder, Tally("github", "size", "", 1, datetime.now(UTC)), Tally("github", "routed", "a/b", 1, NOON, 1))
    text = (ROOT / "docs" / "operations.md").read_text().partition("## Who sends")[2].partition("\n## ")[0]
    for reason, (status, _, _) in REFUSALS.items():
        (row,) = [line for line in text.splitlines() if line.startswith("| `") and f"`{reason}`" in line.split("|")[1]]
        assert str(status) in row.split("|")[2], row
    github = listed("--since", "9999d")[0]
    for name in (*github, *github["refusals"][0], *github["repositories"][0]):
        assert name in text.replace("`", " ").replace("(", " ").replace(")", " ").split(), name


# -- counting


class Kept:
    """A store that only counts, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.bug = False
        self.writes: list[list[Tally]] = []

    async def tally(self, tallies: list[Tally]) -> None:
        if self.away:
            raise StoreUnavailable("made up")
        if self.bug:
            raise ZeroDivisionError("made up")
        self.writes.append(tallies)


def counting(kept: Kept, seconds: float = 3600) -> Tallies:
    store: Store = kept  # type: ignore[assignment]
    return Tallies(store, lambda: NOON, timedelta(seconds=seconds), timedelta(seconds=seconds))


async def test_what_comes_at_once_is_one_write_of_few_rows() -> None:
    kept = Kept()
    tallies = counting(kept)
    for number in range(1, 1_001):
        tallies.count("github", "routed", "acme/app", f"e{number}")
        tallies.count(NO_SOURCE, "unknown")
    await tallies.stop()
    (written,) = kept.writes
    assert written == [Tally("github", "routed", "acme/app", 1_000, NOON, 1_000), Tally("", "unknown", "", 1_000, NOON)]


async def test_an_idle_server_writes_nothing() -> None:
    kept = Kept()
    await counting(kept).stop()
    assert kept.writes == []


async def test_the_rows_that_wait_are_bounded_whatever_repositories_are_named() -> None:
    kept = Kept()
    tallies = counting(kept)
    for number in range(MOST + 50):
        tallies.count("github", "unrouted", f"made/up-{number}")
    tallies.count("github", "unrouted", "made/up-0")
    await tallies.stop()
    (written,) = kept.writes
    assert len(written) == MOST + 1
    assert sum(one.times for one in written) == MOST + 51, "and nothing is lost"
    assert (written[-1].repository, written[-1].times) == ("", 50)


async def test_what_a_store_that_is_away_did_not_take_is_written_later() -> None:
    kept = Kept()
    tallies = counting(kept)
    kept.away = True
    tallies.count("github", "routed", "acme/app", "e9")
    await tallies._write()
    tallies.count("github", "routed", "acme/app", "e10")
    kept.away = False
    await tallies.stop()
    assert kept.writes == [[Tally("github", "routed", "acme/app", 2, NOON, 10)]]


async def test_counts_that_a_bug_keeps_from_being_written_are_not_tried_for_ever() -> None:
    kept = Kept()
    tallies = counting(kept)
    kept.bug = True
    tallies.count("github", "routed")
    await tallies.stop()
    kept.bug = False
    await tallies.stop()
    assert kept.writes == []


async def test_the_task_that_writes_ends_when_nothing_is_left_and_begins_again() -> None:
    kept = Kept()
    tallies = counting(kept, 0)
    for _ in range(2):
        tallies.count("github", "routed")
        assert tallies._keeping is not None
        await tallies._keeping
        assert tallies._keeping is None
    assert len(kept.writes) == 2


@pytest.mark.parametrize("odd", ["acme/\0", "acme/\ud800", "a" * 5_000, "acme/\x1b[2J"])
async def test_no_name_that_a_sender_chooses_is_refused_by_a_store(odd: str, tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/bridge.db")
    tallies = Tallies(store, lambda: NOON)
    tallies.count("github", "routed", odd, "e1")
    await tallies.stop()
    (found,) = await store.tallies(NOON)
    await store.close()
    assert len(found.repository) <= LONGEST
    assert found.repository.isprintable()
