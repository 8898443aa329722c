"""What a sender's API knows beyond its webhooks. One module per source type that has an API worth asking.

A lookup runs in the worker, never while the sender waits. `bridge.deliver` gives it a time limit, keeps its answer per
state of a run, and does without it when the API is slow, wrong or away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.event import Run
from bridge.registry import Registry

if TYPE_CHECKING:
    import aiohttp


class LookupModule(Protocol):
    """What a module in this folder has."""

    API_URL: str  # the documented address; `api_url` of the source replaces it
    NEEDS_TOKEN: bool  # whether it is worth asking only with an `api_token`

    async def look_up(self, run: Run, session: aiohttp.ClientSession, api_url: str, token: str | None) -> Run:
        """Return `run` with what the API adds; what the webhooks said is never replaced. Raises LookupFailed."""
        ...


LOOKUPS: Registry[LookupModule] = Registry(__name__, "buildkite", "circleci", "cirrus", "github", "gitlab")

if TYPE_CHECKING:  # here the type checker compares each module with the Protocol; a test compares the two lists
    from bridge.lookups import buildkite, circleci, cirrus, github, gitlab

    _FORM: list[LookupModule] = [buildkite, circleci, cirrus, github, gitlab]
