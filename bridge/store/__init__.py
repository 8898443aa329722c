"""The memory of bridge. `open_store` chooses the engine by the address of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from bridge.store.sqlite import SqliteStore

DEFAULT_URL = "sqlite:///bridge.db"


def engine(url: str) -> str:
    """Return the name of what `url` opens, for people: it holds no address."""
    return "SQLite" if url.startswith("sqlite:") else "PostgreSQL"


async def open_store(url: str, *, worker: bool = False) -> SqliteStore:
    """Open the database at `url` (``sqlite:///bridge.db``, ``sqlite:////data/bridge.db``).

    Raises StoreUnavailable, and ConfigError for an address of no known form.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from bridge.store.sqlite import SqliteStore

        return await SqliteStore.open(Path(rest.removeprefix("/") or "bridge.db"), worker=worker)
    if scheme in ("postgres", "postgresql"):
        text = "PostgreSQL is not there yet: use sqlite:///PATH, on a disk that stays"
    else:
        text = "write sqlite:///bridge.db, or sqlite:////data/bridge.db for an absolute path"
    raise ConfigError([Problem("DATABASE_URL", 1, 1, "", text)])
