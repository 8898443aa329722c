"""The memory of bridge. `open_store` chooses the engine by the address of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from bridge.store.base import Store

DEFAULT_URL = "sqlite:///bridge.db"


def engine(url: str) -> str:
    """Return the name of what `url` opens, for people: it holds no address."""
    return "SQLite" if url.startswith("sqlite:") else "PostgreSQL"


def is_missing(url: str) -> bool:
    """Return whether `url` names a file that is not there: opening it would make an empty one."""
    scheme, _, rest = url.partition("://")
    return scheme == "sqlite" and not Path(rest.removeprefix("/") or "bridge.db").exists()


async def open_store(url: str, *, worker: bool = False) -> Store:
    """Open the database at `url` (``sqlite:///bridge.db``, ``sqlite:////data/bridge.db``, ``postgresql://...``).

    Raises StoreUnavailable, and ConfigError for an address of no known form.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from bridge.store.sqlite import SqliteStore

        return await SqliteStore.open(Path(rest.removeprefix("/") or "bridge.db"), worker=worker)
    if scheme in ("postgres", "postgresql"):
        from bridge.store.postgres import PostgresStore

        return await PostgresStore.open(url, worker=worker)
    text = "write sqlite:///bridge.db, sqlite:////data/bridge.db (an absolute path), or postgresql://USER:PASSWORD@HOST/NAME"
    raise ConfigError([Problem("DATABASE_URL", 1, 1, "", text)])
