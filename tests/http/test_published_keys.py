"""A source of Travis CI without a secret: the key that Travis publishes is fetched, kept, and fetched again in time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bridge import keys
from bridge.app import Bridge
from bridge.config import SourceConfig, load
from bridge.errors import ConfigError, KeyUnavailable
from bridge.keys import PublishedKeys
from bridge.sources import travis
from tests.fakes.travis_api import TravisApi
from tests.http.wire import Answer, Client

BUILD = b"payload=" + quote_plus(json.dumps({"id": 7, "state": "passed", "number": "3"})).encode()


@cache
def pair(_name: str = "") -> tuple[str, str]:
    """Return a private and a public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode(), key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
async def api() -> AsyncIterator[TravisApi]:
    """Travis's API on loopback, with a key."""
    fake = TravisApi(key=pair()[1])
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    yield fake
    await runner.cleanup()


# -- what is fetched, and when -----------------------------------------------------------------------------------------


class Fetching:
    """Published keys of one source by a clock that stands."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.now = 1_000.0
        self.source = SourceConfig(name="ci", type="travis", api_url=url)
        self.keys = PublishedKeys(session, lambda: self.now)

    async def of(self) -> tuple[str, ...]:
        return await self.keys.of(self.source)

    async def missing(self) -> bool:
        try:
            return not await self.of()
        except KeyUnavailable:
            return True


@pytest.fixture
async def fetching(api: TravisApi) -> AsyncIterator[Fetching]:
    async with aiohttp.ClientSession() as session:
        opened = Fetching(session, api.url)
        yield opened
        await opened.keys.stop()


async def test_the_key_is_asked_for_once_however_many_want_it(api: TravisApi, fetching: Fetching) -> None:
    found = await asyncio.gather(*(fetching.of() for _ in range(20)))
    fetching.now += 1_000_000
    assert {*found, await fetching.of()} == {(pair()[1],)}
    assert (api.asked, api.accepted) == (1, ["application/json"])


async def test_a_key_that_cannot_be_had_is_asked_for_again_after_thirty_seconds(
    api: TravisApi, fetching: Fetching
) -> None:
    api.status = 500
    assert await fetching.missing()
    api.status = 200
    fetching.now += 29
    assert await fetching.missing()
    assert api.asked == 1
    fetching.now += 1
    assert not await fetching.missing()


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 500},
        {"status": 404},
        {"status": 302},
        {"text": "<h1>Be right back</h1>"},
        {"text": "[" * 100_000},
        {"text": " " * (3 * 1024 * 1024)},
        {"key": ""},
        {"key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
    ],
)
async def test_what_is_no_key_is_not_believed_and_the_reason_is_told(
    api: TravisApi, fetching: Fetching, wrong: dict[str, Any]
) -> None:
    vars(api).update(wrong)
    assert await fetching.missing()
    health = await fetching.keys.check(fetching.source)
    assert not health.ok
    assert "503" in health.text
    assert len(health.text) > 80
    assert api.asked == 1  # and a redirect is not followed


async def test_a_silent_api_holds_nobody_for_long(
    api: TravisApi, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_WITHIN", 0.05)
    api.silent = True
    assert await fetching.missing()
    assert "in time" in (await fetching.keys.check(fetching.source)).text


async def test_a_changed_key_is_taken_over_but_asked_for_at_most_every_five_minutes(
    api: TravisApi, fetching: Fetching
) -> None:
    old, new = await fetching.of(), (pair("new")[1],)
    api.key = new[0]
    fetching.now += 299
    assert await fetching.keys.newer(fetching.source, old) == ()
    assert api.asked == 1
    fetching.now += 1
    both = await asyncio.gather(*(fetching.keys.newer(fetching.source, old) for _ in range(5)))
    assert both == [new] * 5
    assert await fetching.keys.newer(fetching.source, old) == new  # who began with the old one need not wait
    assert await fetching.keys.newer(fetching.source, new) == ()
    assert api.asked == 2


async def test_a_known_key_holds_while_the_api_is_out_of_order(api: TravisApi, fetching: Fetching) -> None:
    known = await fetching.of()
    api.status = 503
    fetching.now += 1_000
    assert await fetching.keys.newer(fetching.source, known) == ()
    assert await fetching.of() == known
    assert (await fetching.keys.check(fetching.source)).ok


async def test_what_is_being_asked_ends_with_the_process(api: TravisApi, fetching: Fetching) -> None:
    api.silent = True
    waiting = asyncio.create_task(fetching.missing())
    while not api.asked:
        await asyncio.sleep(0)
    await fetching.keys.stop()
    assert await waiting


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, "https://api.travis-ci.com/config"),
        ("https://travis.example.com/api", "https://travis.example.com/api/config"),
        ("https://travis.example.com/api/", "https://travis.example.com/api/config"),
        ("https://travis.example.com/api/config", "https://travis.example.com/api/config"),
    ],
)
def test_the_key_stands_at_config_of_the_api(given: str | None, asked: str) -> None:
    assert travis.keys_url(given) == asked


# -- what is answered --------------------------------------------------------------------------------------------------


async def started(folder: Path, source: str) -> Client:
    path = folder / "config.yaml"
    path.write_text(f"version: 1\nsources:\n  travis: {source}\ndestinations: {{out: {{type: console}}}}\n")
    environ = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db"}
    bridge = Bridge(load(str(path), environ), environ=environ, role="web")
    await bridge.start("127.0.0.1", 0)
    return Client(bridge)


@pytest.fixture
async def client(api: TravisApi, tmp_path: Path) -> AsyncIterator[Client]:
    opened = await started(tmp_path, f"{{type: travis, api_url: '{api.url}'}}")
    yield opened
    await opened.stop()


async def post(client: Client, private: str) -> Answer:
    return await client.post(BUILD, to="travis", secret=private)


async def test_without_a_secret_what_travis_signed_is_accepted(api: TravisApi, client: Client) -> None:
    answer = await post(client, pair()[0])
    assert (answer.status, answer.json["status"]) == (202, "accepted")
    assert (await post(client, pair()[0])).json["status"] == "duplicate"
    assert api.asked == 1
    assert await client.bridge.describe_keys() == ["travis (Travis CI): ok, its public key is fetched"]


async def test_what_another_signed_is_refused_like_what_nobody_signed(client: Client) -> None:
    wrong = await post(client, pair("another")[0])
    nobody = await client.post(BUILD, to="travis", secret="")
    assert wrong.problem == nobody.problem == (401, "signature missing or wrong")


@pytest.fixture
async def keyless(api: TravisApi, tmp_path: Path) -> AsyncIterator[Client]:
    """A bridge whose start found Travis's API out of order."""
    api.status = 500
    opened = await started(tmp_path, f"{{type: travis, api_url: '{api.url}'}}")
    yield opened
    await opened.stop()


async def test_while_there_is_no_key_the_sender_is_asked_to_come_back(keyless: Client) -> None:
    client = keyless
    answer = await post(client, pair()[0])
    assert answer.problem == (503, "the sender's public key is not known yet, send it again later")
    assert int(answer.headers["retry-after"]) > 0
    shown = (await client.get("/metrics")).body.decode()
    assert 'bridge_events_invalid_total{reason="key",source="travis"}' in shown
    assert (await client.get("/health/ready")).status == 200
    assert (await client.bridge.describe_keys())[0].startswith("travis (Travis CI): WAITS, no public key")


async def test_an_unsigned_request_is_401_though_there_is_no_key(keyless: Client) -> None:
    assert (await keyless.post(BUILD, to="travis", secret="")).status == 401
    assert (await keyless.post(BUILD, to="travis", secret="", Signature="")).status == 401


async def test_a_start_without_a_way_to_the_key_does_not_fail(tmp_path: Path) -> None:
    client = await started(tmp_path, "{type: travis, api_url: 'http://127.0.0.1:9'}")
    assert (await client.get("/health/live")).status == 200
    assert (await post(client, pair()[0])).status == 503
    await client.stop()


async def test_with_a_secret_nothing_is_fetched(api: TravisApi, tmp_path: Path) -> None:
    (tmp_path / "travis.pem").write_text(pair()[1])
    client = await started(tmp_path, f"{{type: travis, api_url: '{api.url}', secret: '${{file:travis.pem}}'}}")
    assert (await post(client, pair()[0])).status == 202
    assert (await post(client, pair("another")[0])).status == 401
    assert (api.asked, await client.bridge.describe_keys()) == (0, [])
    await client.stop()


def test_only_a_sender_that_publishes_its_key_needs_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("version: 1\nsources:\n  travis: {type: travis}\n  circleci: {type: circleci}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert [problem.path for problem in caught.value.problems if "secret" in problem.text] == ["sources.circleci"]


async def test_the_doctor_says_that_a_key_cannot_be_had(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("version: 1\nsources:\n  travis: {type: travis, api_url: 'http://127.0.0.1:9'}\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "doctor", "--json", "--config", str(path)), stdout=asyncio.subprocess.PIPE
    )
    (told,) = json.loads((await process.communicate())[0])
    assert (process.returncode, told["source"], told["ok"]) == (1, "travis", False)
    assert "cannot be reached" in told["text"]
