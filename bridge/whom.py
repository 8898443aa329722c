"""Whom does a message notify, and where nobody, why not?

A rule names roles ("author") and people; an event says who has a role, as logins, names and e-mails; the configuration
says who that is in each chat. A name that nobody under ``people`` answers to notifies nobody, whatever it is: so
nothing that comes from an event can mention anybody by itself.

Pure, and asks nobody: owners and reviewers that an API knows, and ids that a chat knows by e-mail, are found by
`bridge.naming` and told here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bridge.config import Config, Directory, Person
from bridge.destinations import DESTINATIONS
from bridge.event import Event, Role, Target

_ROLES = frozenset(Role)
_MOST = 50  # people that one message notifies: more would be everybody


@dataclass(frozen=True, slots=True)
class Named:
    """One whom a word of `mention` means. `id` is his in the chat; None: nobody is notified, and `why`.

    `emails` are those by which the chat may be asked who he is.
    """

    word: str
    name: str = ""
    id: str | None = None
    why: str = ""
    emails: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.id is None:
            return f"nobody for {self.word}: {self.why}"
        return self.name if self.word == self.name else f"{self.name} ({self.word})"


def whom(words: Iterable[str], event: Event, directory: Directory, chat: str) -> tuple[Named, ...]:
    """Return whom `words` mean in `chat`, in their order, each once; with them those who cannot be notified."""
    found: dict[object, Named] = {}
    for word in words:
        for named in _meant(word, event, directory, chat):
            key = named.id or (named.name or named.word).lower()
            if key not in found:
                found[key] = named
    return tuple(found.values())


def of_target(target: Target, event: Event, config: Config) -> tuple[Named, ...]:
    """Return whom `target` means, as far as that is known without asking anybody."""
    chat = DESTINATIONS[config.destinations[target.destination].type].PERSON
    named, elsewhere = (whom(words, event, config.directory, chat) for words in (target.mention, target.named))
    return besides(named, elsewhere)


def besides(named: Iterable[Named], elsewhere: Iterable[Named]) -> tuple[Named, ...]:
    """Return `named`, without notifying whom another message to the same destination notifies: by whatever words."""
    taken = {one.id for one in elsewhere if one.id is not None}
    why = "an earlier message to the same destination names {}"
    return tuple(replace(one, id=None, why=why.format(one.name)) if one.id in taken else one for one in named)


def ids(named: Iterable[Named]) -> tuple[str, ...]:
    """Return the chat's ids of all who can be notified."""
    return tuple(dict.fromkeys(one.id for one in named if one.id is not None))[:_MOST]


def known(named: Iterable[Named], told: Mapping[str, str]) -> tuple[Named, ...]:
    """Return `named` with the ids that a chat `told` by e-mail."""
    return tuple(_known(one, told) for one in named)


def _known(one: Named, told: Mapping[str, str]) -> Named:
    found = next((told[email] for email in one.emails if email in told), None) if one.id is None else None
    return replace(one, id=found, why="") if found is not None else one


def _meant(word: str, event: Event, directory: Directory, chat: str) -> Iterator[Named]:
    if word not in _ROLES:
        person = directory.person(word)
        yield _of(word, person, chat) if person else Named(word, word, why=f"{word} is nobody under people")
        return
    told = event.names_of(Role(word))
    if not told:
        yield Named(word, why=_UNTOLD.get(word, f"the event tells no {word}"))
    for names in told:
        yield from _answering(word, names, event, directory, chat)


_UNTOLD: dict[str, str] = {
    Role.REVIEWERS: "no reviewers are told",
    Role.OWNERS: "no owners are told",
}


def _answering(word: str, names: tuple[str, ...], event: Event, directory: Directory, chat: str) -> Iterator[Named]:
    """Yield the person, or the members of the team, who goes by one of `names`."""
    emails = () if event.fork else _emails(names)  # a stranger may write any address into his commit
    for name in names:
        person = directory.person(name)
        if person is not None:
            yield _of(word, person, chat, emails)
            return
    members = directory.team(names[0])
    for member in members:
        yield _of(word, member, chat)
    if not members:
        of_role = emails if word in (Role.AUTHOR, Role.COMMITTER) else ()
        yield Named(word, names[0], why=f"{names[0]} is nobody under people", emails=of_role)


def _of(word: str, person: Person, chat: str, emails: tuple[str, ...] = ()) -> Named:
    if not person.mention:
        return Named(word, person.name, why=f"{person.name} wants no mention")
    # A terminal has no ids of people: it shows their names.
    found = person.name if chat == "console" else person.ids.get(chat)
    if found is not None:
        return Named(word, person.name, found)
    own = _emails((person.ids.get("email", ""), *person.also))
    emails = tuple(dict.fromkeys((*own, *emails)))
    return Named(word, person.name, why=f"{person.name} has no {chat} id under people", emails=emails)


def _emails(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of `names` that are e-mail addresses at which somebody reads: forges make up the others."""
    return tuple(name for name in names if _is_email(name))


def _is_email(name: str) -> bool:
    mailbox, _, host = name.lower().partition("@")
    if not mailbox or "." not in host or len(name) > 254 or any(char in name for char in " <>/\\,;@"[:-1]):
        return False
    return "@" not in host and "noreply" not in host.split(".") and not mailbox.startswith(("noreply", "no-reply"))
