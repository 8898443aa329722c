"""Whom a message notifies, and why nobody."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import Config, DestinationConfig, Directory, Person
from bridge.destinations.console import Options as Console
from bridge.event import Event, Kind, Role, Target
from bridge.whom import ids, known, of_target, whom

MONA = Person(name="mona", ids={"slack": "U0MONA01", "email": "mona@acme.example"}, also=("Mona Lisa",))
OCTOCAT = Person(name="octocat", ids={"slack": "U0OCTO01"})
HUBOT = Person(name="hubot", ids={"slack": "U0HUBOT1"}, mention=False)
DEE = Person(name="dee", also=("dee@acme.example",))
PEOPLE = {person.name: person for person in (MONA, OCTOCAT, HUBOT, DEE)}
WHO = Directory(PEOPLE, {"api": ("octocat", "hubot"), "acme/Docs": ("mona",)})

FULL: dict[str, Any] = {
    "author": "octocat",
    "committer": "Mona Lisa",
    "pusher": "octocat",
    "reviewers": ("mona", "acme/api"),
    "owners": ("@acme/docs", "stranger", "octocat"),
}


def an_event(**said: Any) -> Event:
    return Event(source="github", type="github", kind=Kind.PIPELINE, **said)


def named(*words: str, chat: str = "slack", **said: Any) -> tuple[str, ...]:
    return ids(whom(words, an_event(**said), WHO, chat))


def why(*words: str, chat: str = "slack", **said: Any) -> list[str]:
    return [one.why for one in whom(words, an_event(**said), WHO, chat) if one.id is None]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("author", ("U0OCTO01",)),
        ("committer", ("U0MONA01",)),
        ("pusher", ("U0OCTO01",)),
        ("reviewers", ("U0MONA01", "U0OCTO01")),
        ("owners", ("U0MONA01", "U0OCTO01")),
        ("mona", ("U0MONA01",)),
    ],
)
def test_each_word_means_whom_the_event_says(word: str, expected: tuple[str, ...]) -> None:
    assert named(word, **FULL) == expected


@pytest.mark.parametrize("role", Role)
def test_of_a_role_that_nobody_tells_nobody_is_notified(role: Role) -> None:
    assert named(role) == ()
    assert len(why(role)) == 1


def test_a_name_that_is_nobody_under_people_notifies_nobody() -> None:
    assert named("author", "reviewers", author="@channel", reviewers=("U0MONA01", "<!here>")) == ()
    assert why("author", author="ghost") == ["ghost is nobody under people"]


def test_two_words_for_one_person_name_him_once() -> None:
    assert named("author", "pusher", "octocat", "owners", **FULL) == ("U0OCTO01", "U0MONA01")


def test_a_committer_is_found_by_the_address_as_well() -> None:
    assert named("committer", committer="M. L.", committer_email="MONA@acme.example") == ("U0MONA01",)


def test_a_team_is_the_group_of_its_name_with_or_without_the_organization() -> None:
    assert named("owners", owners=("acme/docs",)) == ("U0MONA01",)
    assert named("owners", owners=("@acme/api",)) == ("U0OCTO01",)
    assert named("owners", owners=("acme/nobody",)) == ()


def test_who_wants_no_mention_is_named_by_no_word() -> None:
    assert named("author", "pusher", author="hubot", pusher="hubot") == ()
    assert why("author", author="hubot") == ["hubot wants no mention"]


def test_who_has_no_id_in_the_chat_is_said() -> None:
    assert why("author", author="dee") == ["dee has no slack id under people"]


def test_a_terminal_shows_names() -> None:
    assert named("author", "dee", chat="console", author="Mona Lisa") == ("mona", "dee")


# -- who may be looked up by e-mail


def emails(*words: str, **said: Any) -> list[str]:
    return [email for one in whom(words, an_event(**said), WHO, "slack") if one.id is None for email in one.emails]


def test_who_is_unknown_may_be_looked_up_by_what_the_sender_told() -> None:
    assert emails("author", author="x", author_email="x@acme.example") == ["x@acme.example"]
    assert emails("committer", committer="x", committer_email="x@acme.example") == ["x@acme.example"]
    assert emails("author", author="dee") == ["dee@acme.example"]
    assert emails("dee") == ["dee@acme.example"]


def test_owners_and_reviewers_are_no_addresses_that_a_sender_told() -> None:
    assert emails("owners", "reviewers", owners=("x@acme.example",), reviewers=("y@acme.example",)) == []


def test_who_wants_no_mention_or_is_known_is_never_looked_up() -> None:
    assert emails("author", author="hubot", author_email="hubot@acme.example") == []
    assert ids(whom(("author",), an_event(author="mona", author_email="z@acme.example"), WHO, "slack")) == ("U0MONA01",)


@pytest.mark.parametrize(
    "address",
    [
        "1+mona@users.noreply.github.com",
        "noreply@github.com",
        "no-reply@acme.example",
        "mona@localhost",
        "a b@acme.example",
        "a@b@acme.example",
        "<a@acme.example>",
        "a/b@acme.example",
        "@acme.example",
        "x" * 250 + "@acme.example",
    ],
)
def test_what_nobody_reads_is_no_address(address: str) -> None:
    assert emails("author", author="x", author_email=address) == []


def test_a_strangers_commit_makes_nobody_be_looked_up() -> None:
    assert emails("author", author="x", author_email="boss@acme.example", fork=True) == []


def test_what_a_chat_told_is_the_id() -> None:
    found = whom(("author",), an_event(author="x", author_email="x@acme.example"), WHO, "slack")
    assert ids(known(found, {"x@acme.example": "U0X00001"})) == ("U0X00001",)
    assert ids(known(found, {})) == ()


# -- two messages to one destination


def test_whom_an_earlier_message_names_by_another_word_is_not_named_again() -> None:
    config = Config(
        people=PEOPLE,
        destinations={"terminal": DestinationConfig(name="terminal", type="console", options=Console())},
    )
    target = Target(destination="terminal", template="run", mention=("pusher", "committer"), named=("author",))
    found = of_target(target, an_event(**FULL), config)
    assert ids(found) == ("mona",)
    assert [str(one) for one in found] == [
        "nobody for pusher: an earlier message to the same destination names octocat",
        "mona (committer)",
    ]
