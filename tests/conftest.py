"""For all tests: log lines without pictures of tracebacks, which take longer than most tests; no databases left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from bridge import deliver
from tests import postgres


@pytest.fixture(autouse=True, scope="session")
def plain_log_lines() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )


@pytest.fixture(autouse=True, scope="session")
def no_database_left_behind() -> Iterator[None]:
    yield
    postgres.forget()


@pytest.fixture
def no_lease_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock runs fast: on a machine with other work, a lease would end in the middle of a request."""
    monkeypatch.setattr(deliver, "LEASE_BEYOND_TIMEOUT", timedelta(hours=2))
