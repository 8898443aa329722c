"""Every engine that bridge has, opened anew for each test: one suite of rules for all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bridge.store import open_store
from bridge.store.base import Store
from tests import postgres

OpenStore = Callable[..., Awaitable[Store]]


def write(url: str, statement: str) -> None:
    """Change the database at `url` behind its store's back."""
    if url.startswith("postgresql:"):
        postgres.execute(url, statement)
        return
    db = sqlite3.connect(url.removeprefix("sqlite:///"))
    db.execute(statement)
    db.commit()
    db.close()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of a fresh PostgreSQL database that has bridge's tables."""
    made, drop = postgres.fresh()
    yield made
    drop()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of the engine under test."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bridge.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def reopen(url: str) -> AsyncIterator[OpenStore]:
    """Open the test's database (again): ``await reopen(worker=True)``. What is left open is closed at the end."""
    opened: list[Store] = []

    async def start(*, worker: bool = False) -> Store:
        opened.append(await open_store(url, worker=worker))
        return opened[-1]

    yield start
    for store in opened:
        await store.close()


@pytest.fixture
async def store(reopen: OpenStore) -> Store:
    return await reopen()
