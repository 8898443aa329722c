"""Does `bridge serve`, as a process, do what an operator is promised: start, reload, be watched, stop?"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bridge.store import open_store
from tests.fakes import slack as fake
from tests.fakes.slack import TOKEN, WEBHOOK_PATH, FakeSlack
from tests.running import (
    SECRETS,
    Server,
    cirrus_build,
    get,
    github_run,
    post,
    serving,
    signed,
    write_config,
)

ADMIN = "made-up-admin-token"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as chat:
        yield chat


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, slack: FakeSlack) -> Path:
    return write_config(tmp_path, places(slack))


def places(slack: FakeSlack, *, timeout: str = "10s", rate: str = "100/s", live: str = "false") -> str:
    return f"""
destinations:
  builds:
    {{type: slack, token: {TOKEN}, channel: "#builds", api_url: "{slack.api_url}", timeout: {timeout}, rate: {rate}}}
  legacy: {{type: slack, url: "{slack.webhook_url}"}}
rules:
  - name: every run
    match: {{kind: pipeline}}
    to: builds
    live: {live}
"""


# -- start


async def test_the_start_says_where_to_click_and_who_answers_and_no_secret(config: Path) -> None:
    async with serving(config, environ={"BRIDGE_ADMIN_TOKEN": ADMIN}) as server:
        await server.said("legacy (Slack): ")
        said = "\n".join(server.out)
        assert "/webhooks/github\n" in said
        assert "Settings > Webhooks" in said
        assert "/webhooks/cirrus\n" in said
        assert "builds (Slack): ok, token valid" in said
        assert "legacy (Slack): not asked" in said
        assert await server.stop() == 0
        for secret in (*SECRETS.values(), TOKEN, WEBHOOK_PATH, ADMIN):
            assert secret not in server.all_text


async def test_a_destination_that_does_not_answer_is_named_at_start_and_stops_nothing(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    slack.token = "another"
    async with serving(config) as server:
        assert "the token is wrong" in await server.said("builds (Slack): DOES NOT ANSWER")
        assert (await post(session, server.url, "github", github_run(1, "queued")))[0] == 202


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("sqlite:///no/such/folder/bridge.db", 1, "cannot open the database"),
        ("sqlite:///config.yaml", 1, "not a database"),
        ("mysql://somewhere/bridge", 2, "DATABASE_URL"),
    ],
)
async def test_a_database_that_cannot_be_opened_is_named_in_plain_words(
    config: Path, url: str, code: int, words: str
) -> None:
    server = await Server.start(config, environ={"DATABASE_URL": url}, listens=False)
    assert await server.ended() == code
    assert words in server.all_text
    assert "Traceback" not in server.all_text


async def test_a_port_that_is_taken_is_named_in_plain_words(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = await Server.start(config, port=taken.getsockname()[1], listens=False)
        assert await server.ended() == 1
    assert "cannot listen on 127.0.0.1" in server.all_text
    assert "Traceback" not in server.all_text


async def test_a_configuration_that_is_wrong_is_named_with_its_line(config: Path) -> None:
    config.write_text(config.read_text().replace("to: builds", "to: bilds"))
    server = await Server.start(config, listens=False)
    assert await server.ended() == 2
    assert "did you mean 'builds'" in server.all_text
    assert "config.yaml:" in server.all_text
    assert "Traceback" not in server.all_text


# -- reload


async def test_a_changed_file_and_a_signal_reload_and_a_bad_file_keeps_the_old_one(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    good = config.read_text()
    async with serving(config, environ={"LOG_FORMAT": "json"}) as server:
        await server.said("legacy (Slack): ")
        config.write_text(good.replace("to: builds", "to: bilds"))
        refused = json.loads(await server.said("did you mean 'builds'"))
        assert refused["event"] == "config.refused"
        assert f"{config}:" in refused["problem"]
        assert "bridge_config_last_reload_successful 0.0" in (await get(session, f"{server.url}/metrics"))[1]
        assert (await post(session, server.url, "github", github_run(1, "queued")))[0] == 202
        await slack.until(lambda: slack.in_channel("#builds"))

        config.write_text(good.replace('"#builds"', '"#moved"'))
        await server.said("config.loaded")
        await post(session, server.url, "github", github_run(2, "queued"))
        await slack.until(lambda: slack.in_channel("#moved"))

        (config.parent / "templates").mkdir()
        before = len(server.err)
        server.process.send_signal(signal.SIGHUP)
        await server.said("config.loaded", after=before)
        assert "bridge_config_last_reload_successful 1.0" in (await get(session, f"{server.url}/metrics"))[1]
        assert await server.stop() == 0


# -- being watched


METRICS = """
bridge_accept_latency_seconds bridge_build_info bridge_config_last_reload_success_timestamp_seconds
bridge_config_last_reload_successful bridge_destination_up bridge_end_to_end_latency_seconds
bridge_events_received_total bridge_events_invalid_total bridge_events_unrouted_total bridge_lookups_total
bridge_notification_latency_seconds bridge_notification_requests_failed_total bridge_notification_requests_total
bridge_notifications_failed_total bridge_notifications_suppressed_total bridge_notifications_total
bridge_queue_dead bridge_queue_oldest_age_seconds bridge_queue_pending bridge_template_errors_total
"""


async def test_health_and_metrics(config: Path, slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    async with serving(config) as server:
        assert await get(session, f"{server.url}/health/live") == (200, '{"status": "live"}')
        assert (await get(session, f"{server.url}/health/ready"))[0] == 200
        assert (await get(session, f"{server.url}/"))[0] == 404, "no page without an admin token"
        await post(session, server.url, "github", github_run(1, "queued"))
        await slack.until(lambda: slack.messages)
        await server.said("delivery.done")
        _, text = await get(session, f"{server.url}/metrics")
    for name in METRICS.split():
        assert f"# HELP {name.removesuffix('_total')}" in text, name
    assert 'bridge_events_received_total{source="github",status="accepted"} 1.0' in text
    assert 'bridge_queue_pending{destination="builds"} 0.0' in text
    assert 'bridge_notifications_total{destination="builds",how="posted",integration="slack"} 1.0' in text
    for secret in (*SECRETS.values(), TOKEN, WEBHOOK_PATH, "acme/app"):
        assert secret not in text


async def test_a_locked_database_is_not_ready_and_refuses_politely_and_recovers(
    config: Path, session: aiohttp.ClientSession
) -> None:
    body = github_run(1, "queued")
    async with serving(config) as server:
        other = sqlite3.connect(config.parent / "bridge.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        asked = asyncio.gather(
            get(session, f"{server.url}/health/ready"), session.post(**posting(server, body)), return_exceptions=False
        )
        assert (await get(session, f"{server.url}/health/live"))[0] == 200
        ready, refused = await asked
        assert (ready[0], refused.status, refused.headers["Retry-After"]) == (503, 503, "30")
        assert time.monotonic() - began < 9.5, "senders wait ten seconds"
        assert "takes no writes" in ready[1]
        assert refused.content_type == "application/problem+json"
        other.execute("ROLLBACK")
        other.close()
        assert (await get(session, f"{server.url}/health/ready"))[0] == 200
        assert (await post(session, server.url, "github", body))[0] == 202


def posting(server: Server, body: bytes) -> dict[str, object]:
    return {"url": f"{server.url}/webhooks/github", "data": body, "headers": signed("github", body)}


async def test_a_full_disk_refuses_politely_and_recovers_without_a_restart(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    body = github_run(1, "queued")
    async with serving(config) as server:
        pid = server.process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))
        async with session.post(**posting(server, body)) as refused:  # type: ignore[arg-type]
            assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
        assert (await get(session, f"{server.url}/health/ready"))[0] == 503
        assert (await get(session, f"{server.url}/health/live"))[0] == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        assert (await get(session, f"{server.url}/health/ready"))[0] == 200
        assert (await post(session, server.url, "github", body))[0] == 202
        await slack.until(lambda: slack.messages)
        assert len([line for line in server.err if "store.unavailable" in line]) < 20, "said, not shouted"
        assert await server.stop() == 0


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_log_tells_a_secret_an_address_or_a_body(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession, form: str
) -> None:
    more = "  - {name: by webhook, match: {source: cirrus}, to: legacy}\n"
    config.write_text(config.read_text().replace("match: {kind: pipeline}", "match: {source: github}") + more)
    words = "the words of the body"
    async with serving(config, environ={"LOG_FORMAT": form, "LOG_LEVEL": "debug"}) as server:
        await server.said("legacy (Slack): ")
        for source, body, last in (
            ("github", github_run(1, "queued", title=words), fake.error("token_revoked")),
            ("cirrus", cirrus_build(1, "FAILED", title=words), fake.error("no_service", status=404)),
        ):
            slack.faults += [fake.status(500), fake.lost_before_accept(), last]
            before = len(server.err)
            await post(session, server.url, source, body)
            await server.said("delivery.dead", after=before)
            await post(session, server.url, source, b'{"' + words.encode())
        async with session.post(f"{server.url}/webhooks/github", data=words, headers={"X-Hub-Signature-256": "0"}):
            pass
        assert await server.stop() == 0
    assert server.err
    for secret in (*SECRETS.values(), TOKEN, WEBHOOK_PATH, "the words of the body", "octocat"):
        assert secret not in server.all_text
    if form == "json":
        assert all("event" in json.loads(line) for line in server.err if line.startswith("{"))


# -- stop


async def test_a_stop_waits_for_what_is_in_flight_and_exits_0(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    answer = asyncio.Event()
    async with serving(config) as server:
        await server.said("legacy (Slack): ")
        slack.faults += [fake.slow(answer)]
        await post(session, server.url, "github", github_run(1, "queued"))
        await slack.until(lambda: slack.messages)
        server.process.send_signal(signal.SIGTERM)
        await server.said("stopping")
        answer.set()
        assert await server.ended() == 0
    store = await open_store(f"sqlite:///{config.parent}/bridge.db")
    assert [one.state for one in await store.deliveries(limit=9)] == ["done"]
    await store.close()


@pytest.mark.slow
async def test_a_stop_ends_within_ten_seconds_while_a_send_hangs(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    for_ever = asyncio.Event()
    config.write_text(config.read_text().replace("timeout: 10s", "timeout: 5m"))
    async with serving(config) as server:
        await server.said("legacy (Slack): ")
        slack.faults += [fake.slow(for_ever)]
        await post(session, server.url, "github", github_run(1, "queued"))
        await slack.until(lambda: slack.messages)
        began = time.monotonic()
        assert await server.stop() == 0
        assert time.monotonic() - began < 10
    for_ever.set()
    store = await open_store(f"sqlite:///{config.parent}/bridge.db")
    assert [one.state for one in await store.deliveries(limit=9)] == ["pending"]
    await store.close()


# -- several processes


async def test_one_takes_and_two_deliver_and_each_message_is_sent_once(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    async with (
        serving(config, "--role", "web") as taking,
        serving(config, "--role", "worker") as one,
        serving(config, "--role", "worker") as two,
    ):
        answers = await asyncio.gather(
            *(post(session, taking.url, "github", github_run(n, "queued", title=f"number-{n}")) for n in range(1, 41))
        )
        assert {status for status, _ in answers} == {202}
        await slack.until(lambda: len(slack.messages) >= 40, 15)
        assert (await post(session, one.url, "github", github_run(99, "queued")))[0] == 404
        assert [await server.stop() for server in (taking, one, two)] == [0, 0, 0]
    said = [next(n for n in range(1, 41) if f"number-{n}<" in mark(post_)) for post_ in slack.messages.values()]
    assert sorted(said) == list(range(1, 41))


def mark(posted: fake.Posted) -> str:
    """The message's text with every number closed, so that number-4 is not found in number-40."""
    return json.dumps(posted.body).replace('"', "<").replace(" ", "<").replace(">", "<").replace("|", "<")


async def test_a_living_message_follows_its_run_through_a_restart(
    config: Path, slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    config.write_text(config.read_text().replace("live: false", "live: true"))
    async with serving(config) as server:
        await post(session, server.url, "github", github_run(1, "queued"))
        await slack.until(lambda: slack.messages)
        await server.said("delivery.done")
        assert await server.stop() == 0
    async with serving(config) as server:
        await post(session, server.url, "github", github_run(1, "completed", "success"))
        await slack.until(lambda: any(call.method == "chat.update" for call in slack.calls))
        assert await server.stop() == 0
    (posted,) = slack.messages.values()
    assert "passed" in posted.body["text"]
