"""For all tests: log lines without pictures of tracebacks, which take longer than most tests; no databases left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

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
