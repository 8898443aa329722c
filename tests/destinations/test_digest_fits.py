"""Does a digest of many troubled repositories reach every chat whole, and the end of a mute as text alone?"""

from __future__ import annotations

import json
from functools import cache

import pytest

from bridge.event import Digest, Event, Kind, Status
from bridge.render import UNMUTED, Renderer, View
from tests.destinations.chats import CHATS, Chat
from tests.hostile import HOSTILE, TEMPLATES, view
from tests.test_digest import UNTIL, Past

RENDERER = Renderer(TEMPLATES)


@cache
def digest_of(repositories: int) -> Digest:
    """Each repository has what every list of a digest can show, with long names."""
    past = Past()
    for number in range(repositories):
        name = f"acme/repository-with-a-long-name-{number:04}"
        said = {"repository": name, "repository_url": f"https://github.com/{name}", "pipeline": "build and test it all"}
        for branch in range(8):
            said["branch"] = f"feature/some-long-branch-name-{branch}"
            past.run(-5, "failure" if branch > 3 else "success", **said)
            past.run(2, "failure", **said)
            if branch in (1, 5):
                past.run(3, "success", duration=500.0, **said)
    return past.tell().with_(rule="good morning", period="Thu 1 Jan 13:00 to Fri 2 Jan 13:00, Europe/Oslo")


@pytest.mark.parametrize("repositories", [1, 30])
@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.name)
def test_no_chat_cuts_a_digest(chat: Chat, repositories: int) -> None:
    digest = digest_of(repositories)
    event = Event(source="bridge", type="bridge", kind=Kind.DIGEST, digest=digest, received_at=UNTIL)
    body = chat.sent(RENDERER.render("digest", View(event=event, now=UNTIL), chat.type))  # its validator looks at it
    text = json.dumps(body, ensure_ascii=False, default=str)
    assert ("more repositories" in text) == (digest.more > 0)
    assert "Europe/Oslo" in text, "the footer comes last"
    assert "…" not in text


@pytest.mark.parametrize("chat", [chat for chat in CHATS if chat.looks], ids=lambda chat: chat.name)
def test_no_word_of_a_mute_has_an_effect(chat: Chat) -> None:
    def effects(value: str) -> set[str]:
        return chat.effects(chat.sent(RENDERER.render(UNMUTED, view(Kind.DIGEST, Status.UNKNOWN, value), chat.type)))

    usual = effects("x")
    for value in (*HOSTILE, *chat.strange):
        assert effects(value) <= usual, repr(value)
