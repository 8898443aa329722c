"""Is every real body of every sender taken, signed as its sender signs, and told or ignored with a reason?"""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.app import Bridge
from bridge.config import load
from bridge.sources import SOURCES

SHARED = Path(__file__).parents[2] / "../shared/fixtures"
TYPES = {"azuredevops": "azure_devops", "bitbucket-server": "bitbucket"}
TOKEN = "a-token-of-the-tests"
# Senders that sign with a private key: the tests have none of theirs. Their own tests make a pair.
BY_KEY = frozenset({"travis"})


def rows() -> list[Any]:
    if not SHARED.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip("no ../shared"))]
    with (SHARED / "MANIFEST.tsv").open() as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    return [pytest.param(row, id=row["file"]) for row in found if TYPES.get(row["source"], row["source"]) in SOURCES]


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a running bridge that knows every sender."""
    known = {"secret": TOKEN, "token": TOKEN}
    sources = {
        name: {"type": name} | {key: value for key, value in known.items() if key == _key(name)} for name in SOURCES
    }
    sources |= {name: {"type": name, "unsigned": True} for name in SOURCES if name in BY_KEY}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"version": "1", "sources": sources, "destinations": {"here": {"type": "console"}}}))
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db"}
    bridge = Bridge(load(str(path), environ), environ=environ, role="web")
    await bridge.start("127.0.0.1", 0)
    yield f"http://127.0.0.1:{bridge.port}/webhooks/"
    await bridge.stop()


def _key(name: str) -> str:
    return "secret" if SOURCES[name].SIGNS and name != "generic" else "token"


def _headers(row: dict[str, str], name: str, body: bytes) -> dict[str, str]:
    module = SOURCES[name]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if name == "generic" or name in BY_KEY:
        headers |= {"Content-Type": sorted(module.CONTENT_TYPES)[0]}
    else:
        headers |= module.sign(body, TOKEN, delivery=str(uuid.uuid4()))
    key, colon, value = row["event_header"].partition(": ")
    if colon and not row["event_header"].startswith("("):
        headers = {other: said for other, said in headers.items() if other.lower() != key.lower()}
        headers[key] = value.partition(" (")[0]
    return headers


@pytest.mark.parametrize("row", rows())
async def test_a_real_body_is_accepted_or_ignored_with_a_reason(base: str, row: dict[str, str]) -> None:
    name = TYPES.get(row["source"], row["source"])
    body = (SHARED / row["file"]).read_bytes()
    if name == "travis" and row["file"].endswith(".json"):
        pytest.skip("what the form's field holds, and is never sent by itself")
    async with (
        aiohttp.ClientSession() as session,
        session.post(base + name, data=body, headers=_headers(row, name, body)) as response,
    ):
        answer = await response.json(content_type=None)
    assert response.status in (200, 202), answer
    assert answer["status"] in ("accepted", "ignored"), answer
    assert answer["status"] == "accepted" or len(answer["reason"]) > 10, answer
