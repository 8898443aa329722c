"""What the tests of senders that send little share, beside `common`: goldens, tokens, real bodies, the docs' tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.errors import Unauthorized
from bridge.event import Event, Ignored
from bridge.verify import REFUSED
from tests.events import Folding
from tests.sources.common import PAGES, SHARED, TOLD, Sender, said


def page_table(name: str) -> dict[str, str]:
    """Return the status table of a sender's page: its words to ours."""
    page = (PAGES / f"{name}.md").read_text()
    table = page.partition("| bridge says |\n")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines()]
    return {word: status.strip(" `") for words, status in rows for word in re.findall("`([^`]+)`", words)}


def becomes_its_golden(sender: Sender, name: str) -> None:
    assert said(sender.read(name)) == sender.golden(name)


def signs_nothing(sender: Sender) -> None:
    """Assert that no secret lets a request of a sender in that cannot sign: only a token does, and not here."""
    assert not sender.module.SIGNS
    for name in sender.bodies:
        for secret in ("", "s3cret"):
            request = sender.sent(sender.bodies[name].read_bytes(), secret)
            assert "s3cret" not in str(request.headers)
            with pytest.raises(Unauthorized, match=REFUSED):
                sender.module.verify(request, [secret])


def reads(sender: Sender, file: str, expected: Mapping[str, Any] | str, event: str | None = None) -> Event | Ignored:
    """Assert that a real body becomes the event that `expected` reads in it, or is ignored with its words."""
    body = (SHARED / "fixtures" / sender.name / file).read_bytes()
    found = sender.module.normalise(sender.inbound(event, body))
    if isinstance(expected, str):
        assert isinstance(found, Ignored)
        assert expected in found.reason
        return found
    assert isinstance(found, Event)
    silent = dict.fromkeys(TOLD) | {"status": "unknown"}
    assert {name: getattr(found, name) for name in TOLD} == silent | dict(expected)
    return found


def folded(sender: Sender, *names: str) -> Folding:
    """Return the run that the bodies of these names make, one after the other."""
    return Folding(*(sender.event_of(name) for name in names))
