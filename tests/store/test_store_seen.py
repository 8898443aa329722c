"""Does a store say beforehand which deliveries would be duplicates?"""

from __future__ import annotations

from bridge.store.base import Store
from tests.arrivals import ALL, arrival, event


async def test_what_was_accepted_is_known_to_its_own_source_only(store: Store) -> None:
    long = "k" * 5_000
    await store.accept(arrival(event(1), "one"), ALL)
    await store.accept(arrival(event(2), long), ALL)
    assert await store.seen("github", ["one", "two", long]) == {"one", long}
    assert await store.seen("gitlab", ["one"]) == set()
    assert await store.seen("github", []) == set()


async def test_what_could_not_be_read_is_welcome_once_more(store: Store) -> None:
    await store.accept(arrival(None, "odd", problem="not JSON"), ALL)
    assert await store.seen("github", ["odd"]) == set()
    await store.accept(arrival(event(1), "odd"), ALL)
    assert await store.seen("github", ["odd"]) == {"odd"}
