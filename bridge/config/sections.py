"""What do ``server``, ``sources``, ``destinations`` and ``people`` say?

From the tree to the model; what is wrong is reported, what can be read is returned all the same, so that rules can be
checked against every name that is meant to exist.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from bridge.config.keys import PERSON, SERVER, SOURCE
from bridge.config.model import MAX_BODY, RETENTION, DestinationConfig, Person, ServerConfig, SourceConfig
from bridge.config.reader import Reader, may_be_empty, near, short
from bridge.config.report import under
from bridge.config.yaml import Entry, Mapping, Node, Scalar, Sequence
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import DestinationOptions
from bridge.event import OWN, Role
from bridge.lookups import LOOKUPS
from bridge.sources import SOURCES, Bound, Publishes
from bridge.units import parse_duration, parse_size

Form = TypeVar("Form", bound=BaseModel)

_LARGEST_BODY = 256 * 1024 * 1024
_LONGEST = timedelta(days=3650)


# -- server ------------------------------------------------------------------------------------------------------------


def server(reader: Reader, node: Node) -> ServerConfig:
    found = reader.mapping(node, "server", SERVER)
    public_url, max_body, retention = (found.get(key) for key in ("public_url", "max_body", "retention"))
    return ServerConfig(
        public_url=_address(reader, public_url, "server.public_url"),
        max_body=(max_body and reader.parsed(max_body.node, "server.max_body", _size)) or MAX_BODY,
        retention=(retention and reader.parsed(retention.node, "server.retention", _retention)) or RETENTION,
    )


def _size(text: str) -> int:
    size = int(text) if text.isdecimal() else int(parse_size(text))
    if not 1 <= size <= _LARGEST_BODY:
        raise ValueError("write a size between 1B and 256MiB")
    return size


def _retention(text: str) -> timedelta:
    duration: timedelta = parse_duration(text)
    if not timedelta(0) < duration <= _LONGEST:
        raise ValueError("write a duration of more than nothing and at most 3650d")
    return duration


def _address(reader: Reader, entry: Entry | None, path: str) -> str | None:
    if entry is None or (isinstance(entry.node, Scalar) and may_be_empty(entry.node)):
        return None
    return reader.address(entry.node, path)


# -- sources -----------------------------------------------------------------------------------------------------------


def sources(reader: Reader, node: Node) -> dict[str, SourceConfig]:
    """Return every source that is named; one that cannot be read has an empty type."""
    found: dict[str, SourceConfig] = {}
    for name, entry in reader.mapping(node, "sources").items():
        path = under("sources", short(name))
        reader.name(entry, path, name)
        if name == OWN:
            reader.error(entry, path, f"'{OWN}' is the name of bridge's own events, choose another one")
        found[name] = _source(reader, name, entry.node, path)
    return found


def _source(reader: Reader, name: str, node: Node, path: str) -> SourceConfig:
    whole = reader.mapping(node, path)
    type_ = _type(reader, name, whole, node, path, SOURCES)
    module = SOURCES.get(type_ or "")
    form = module.Options if module is not None and isinstance(module, Bound) else None
    own = tuple(form.model_fields) if form is not None else ()
    keys = reader.known(whole, path, (*SOURCE, *own))
    secrets = _secrets(reader, keys.get("secret"), under(path, "secret"))
    tokens = _secrets(reader, keys.get("token"), under(path, "token"))
    unsigned = "unsigned" in keys and bool(reader.flag(keys["unsigned"].node, under(path, "unsigned")))
    if "token" in keys and module is not None and module.SIGNS and not module.TOKEN_HEADERS:
        reader.error(keys["token"], under(path, "token"), f"{type_} signs what it sends, write `secret` instead")
    elif "secret" in keys and module is not None and not module.SIGNS:
        reader.error(keys["secret"], under(path, "secret"), f"{type_} cannot sign what it sends, write `token` instead")
    elif unsigned and ("secret" in keys or "token" in keys):
        reader.error(keys["unsigned"], under(path, "unsigned"), "choose: a secret, or `unsigned: true` without one")
    elif unsigned:
        warning = "anyone who knows the address can send events, a `secret` would prevent it"
        reader.warn(keys["unsigned"].node, under(path, "unsigned"), warning)
    elif type_ and not ("secret" in keys or "token" in keys or isinstance(module, Publishes)):
        reader.error(node, path, "'secret' is missing: write `secret: ${NAME}` (or `unsigned: true` to trust anyone)")
    return SourceConfig(
        name=name,
        type=type_ or "",
        secrets=secrets,
        tokens=tokens,
        unsigned=unsigned,
        api_token=_api_token(reader, keys.get("api_token"), under(path, "api_token"), type_),
        api_url=_address(reader, keys.get("api_url"), under(path, "api_url")),
        options=_options(reader, form, {key: keys[key] for key in own if key in keys}, node, path) if form else None,
    )


def _type(
    reader: Reader,
    name: str,
    keys: dict[str, Entry],
    node: Node,
    path: str,
    there: Iterable[str],
) -> str | None:
    if "type" in keys:
        return reader.kind_of(keys["type"].node, under(path, "type"), tuple(there))
    if isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None):
        hint = f"write `type: {name}`" if name in there else f"choose from {', '.join(there)}"
        reader.error(node, path, f"'type' is missing, {hint}")
    return None


def _secrets(reader: Reader, entry: Entry | None, path: str) -> tuple[str, ...]:
    """Return the secrets of a list. ``${OLD:-}`` may be empty beside another one."""
    if entry is None:
        return ()
    items = reader.items(entry.node, path)
    needed = [(item, where) for item, where in items if not (isinstance(item, Scalar) and may_be_empty(item))]
    found = [reader.secret(item, where) for item, where in needed or items]
    return tuple(dict.fromkeys(secret for secret in found if secret))


def _api_token(reader: Reader, entry: Entry | None, path: str, type_: str | None) -> str | None:
    if entry is None or (isinstance(entry.node, Scalar) and may_be_empty(entry.node)):
        return None
    if type_ is not None and type_ not in LOOKUPS:
        reader.warn(entry, path, f"{type_} has no API that bridge asks, so this token does nothing: leave it out")
    return reader.secret(entry.node, path)


# -- destinations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A destination's type, where it is named, and its configuration where its options are right."""

    type: str | None
    config: DestinationConfig | None = None
    entry: Entry | None = field(default=None, compare=False)


def destinations(reader: Reader, node: Node) -> dict[str, Named]:
    found: dict[str, Named] = {}
    for name, entry in reader.mapping(node, "destinations").items():
        path = under("destinations", short(name))
        reader.name(entry, path, name)
        found[name] = _destination(reader, name, entry, path)
    return found


def _destination(reader: Reader, name: str, entry: Entry, path: str) -> Named:
    keys = reader.mapping(entry.node, path)
    type_ = _type(reader, name, keys, entry.node, path, DESTINATIONS)
    if type_ is None:
        return Named(None, None, entry)
    options = _options(reader, DESTINATIONS[type_].Options, keys, entry.node, path)
    config = DestinationConfig(name=name, type=type_, options=options) if options else None
    return Named(type_, config, entry)


def _options(reader: Reader, form: type[Form], keys: dict[str, Entry], node: Node, path: str) -> Form | None:
    """Return what the module's own model makes of the keys, its problems put into our words at their places."""
    fields = {field.alias or name: field for name, field in form.model_fields.items()}
    known = reader.known(keys, path, ("type", *fields))
    known.pop("type", None)
    broken: set[str] = keys.keys() - known.keys() - {"type"}
    values: dict[str, Any] = {}
    for key, entry in known.items():
        value = _plain(reader, entry.node, under(path, key), secret=is_secret(fields[key].annotation))
        if value is not None:
            values[key] = value
        elif not (isinstance(entry.node, Scalar) and may_be_empty(entry.node)):
            broken.add(key)
    try:
        return form.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            _retell(reader, problem, known, node, path, broken)
    return None


def _plain(reader: Reader, node: Node, path: str, *, secret: bool) -> Any:
    """Return `node` as plain data for a model, numbers as the text that was written; None where there is nothing."""
    if isinstance(node, Sequence):
        items = [_plain(reader, item, under(path, i), secret=secret) for i, item in enumerate(node.items)]
        return None if None in items else items
    if isinstance(node, Mapping):
        pairs = {k: _plain(reader, e.node, under(path, k), secret=secret) for k, e in node.entries.items()}
        return None if None in pairs.values() else pairs
    if isinstance(node.value, bool):
        return node.value
    if may_be_empty(node):
        return None
    return reader.secret(node, path) if secret else reader.text(node, path)


def is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def _retell(
    reader: Reader, problem: Any, known: dict[str, Entry], node: Node, path: str, broken: Collection[str]
) -> None:
    """Report one of pydantic's errors; what only follows from a problem already told is left out."""
    loc = [part for part in problem["loc"] if isinstance(part, int) or part in known]
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if key in broken or (not loc and broken):
        return
    where: Node = known[loc[0]].node if loc else node
    for part in loc[1:]:
        where = where.items[part] if isinstance(where, Sequence) and isinstance(part, int) else where
    text = _in_words(problem, where)
    for entry in known.values() if not loc else ():  # a model's own sentence may name any of its values
        if isinstance(entry.node, Scalar) and entry.node.raw is not None and len(entry.node.text) > 3:
            text = text.replace(entry.node.text, entry.node.raw)
    if problem["type"] == "missing":
        path, text = under(path, key), f"'{key}' is missing"
    reader.error(where, ".".join([path, *(str(part) for part in loc)]), text)


def _in_words(problem: Any, where: Node) -> str:
    context = problem.get("ctx", {})
    written = short(where.written) if isinstance(where, Scalar) else ""
    match problem["type"]:
        case "value_error" | "assertion_error":
            return short(str(context["error"]), 300)
        case "literal_error" | "enum":
            words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
            return f"'{written}' is none of {', '.join(words)}{near(written, words)}"
        case "int_parsing" | "int_type" | "int_from_float":
            return "write a whole number"
        case "bool_parsing" | "bool_type":
            return "write true or false"
        case "greater_than_equal":
            return f"write at least {context['ge']}"
        case "string_type":
            return "write text, in quotes where it looks like something else"
    message: str = problem["msg"]
    return message[:1].lower() + message[1:]


def secret_values(options: DestinationOptions) -> Iterable[str]:
    """Yield the values that must not reach a log."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()


# -- people ------------------------------------------------------------------------------------------------------------

ROLES = frozenset(Role)  # the words of `mention` that are nobody's name
_NO_CHAT = {"console", "email", "webhook", "apprise"}
CHATS = ("email", *(name for name in sorted(DESTINATIONS) if name not in _NO_CHAT))
_SLACK_ID = frozenset("UWS")
_DISCORD_ID = re.compile(r"&?[1-9][0-9]{0,19}")
_GOOGLE_ID = re.compile(r"[1-9][0-9]{4,29}")
_TEAMS_ID = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MATRIX_ID = re.compile(r"@[\w.=/+-]{1,120}:[A-Za-z0-9.-]{1,120}(?::[0-9]{1,5})?", re.ASCII)
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TELEGRAM_ID = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}|[1-9][0-9]{0,19}")
_ZULIP_ID = re.compile(r"[1-9][0-9]{0,19}|\*[^*\x00-\x1f]{1,100}\*")
_WEBEX_ID = re.compile(r"[\w.+'-]{1,64}@[A-Za-z0-9.-]{1,190}|[A-Za-z0-9_=-]{20,200}", re.ASCII)


def people(reader: Reader, node: Node, found: dict[str, Person]) -> None:
    """Add the people of one file to those of the files before it."""
    known = {one: person.name for person in found.values() for one in person.known_as}
    for name, entry in reader.mapping(node, "people").items():
        path = under("people", short(name))
        if name in found:
            reader.error(entry, path, f"there is a '{short(name)}' already, remove one of the two")
            continue
        if name in ROLES:
            reader.error(entry, path, f"'{name}' is whoever has that part in the change, write the login of somebody")
        person = _person(reader, name, entry.node, path)
        for one in sorted(person.known_as & known.keys()):
            text = f"'{short(one)}' is '{short(known[one])}' already, who comes first and is the one that is meant"
            reader.warn(entry, path, text)
        for one in person.known_as:
            known.setdefault(one, name)
        found[name] = person


def _person(reader: Reader, name: str, node: Node, path: str) -> Person:
    keys = reader.mapping(node, path, (*CHATS, *PERSON))
    ids: dict[str, str] = {}
    also: list[str] = []
    for chat, where in ((chat, keys[chat]) for chat in keys if chat in CHATS):
        texts = reader.texts(where.node, under(path, chat)) if chat == "email" else _one(reader, where, path, chat)
        fitting = [text for at, place, text in texts if _fits(reader, chat, text, at, place)]
        also += fitting[1:]
        if fitting:
            ids[chat] = fitting[0]
    if "also" in keys:
        also += [text for _, _, text in reader.texts(keys["also"].node, under(path, "also"))]
    mention = reader.flag(keys["mention"].node, under(path, "mention")) if "mention" in keys else True
    return Person(name=name, ids=ids, also=tuple(also), mention=mention is not False)


def _one(reader: Reader, entry: Entry, path: str, chat: str) -> list[tuple[Node, str, str]]:
    text = reader.text(entry.node, under(path, chat))
    return [] if text is None else [(entry.node, under(path, chat), text)]


def groups(reader: Reader, node: Node, known: dict[str, Person]) -> dict[str, tuple[str, ...]]:
    """Return who is in each group, by the names under ``people``."""
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in reader.mapping(node, "groups").items():
        path = under("groups", short(name))
        if name in ROLES or name in known:
            reader.error(entry, path, f"'{short(name)}' is somebody already, choose another name for the group")
        members = reader.texts(entry.node, path)
        for at, where, text in members:
            if text not in known:
                reader.error(at, where, f"nobody named '{short(text)}' under `people`{near(text, known)}")
        found[name] = tuple(text for _, _, text in members if text in known)
    return found


def _fits(reader: Reader, chat: str, text: str, node: Node, path: str) -> bool:
    slack_id = text[:1] in _SLACK_ID and text.isalnum() and text == text.upper() and len(text) >= 6
    if chat == "slack" and not slack_id:
        hint = "write the member ID (U024BE7LH): in Slack, the profile's ⋮ menu, Copy member ID"
        reader.error(node, path, f"'{short(text)}' is no Slack ID, {hint}")
        return False
    if chat == "discord" and not _DISCORD_ID.fullmatch(text):
        hint = "write the number (80351110224678912): in Discord, right-click the person, Copy User ID (Developer Mode)"
        reader.error(node, path, f"'{short(text)}' is no Discord ID, {hint}; &NUMBER is a role")
        return False
    if chat == "google_chat" and not _GOOGLE_ID.fullmatch(text):
        hint = "write the number (123456789012345678901) that the People API gives for people/me"
        reader.error(node, path, f"'{short(text)}' is no Google Chat id, {hint}")
        return False
    if chat == "teams" and not _TEAMS_ID.fullmatch(text):
        hint = "write the name with which the person signs in (octocat@acme.example), or the object id"
        reader.error(node, path, f"'{short(text)}' is no Teams id, {hint}")
        return False
    if chat == "zulip" and not _ZULIP_ID.fullmatch(text):
        hint = 'write the number in the address of the profile, "1234", or a group as "*on-call*"'
        reader.error(node, path, f"'{short(text)}' is no Zulip id, {hint}")
        return False
    if chat == "telegram" and not _TELEGRAM_ID.fullmatch(text):
        hint = 'write the user name, "@octocat", or for somebody without one the number, in quotes'
        reader.error(node, path, f"'{short(text)}' is no Telegram id, {hint}")
        return False
    if chat == "matrix" and not _MATRIX_ID.fullmatch(text):
        hint = 'write the whole ID in quotes, "@octocat:example.org": it is in the person\'s profile'
        reader.error(node, path, f"'{short(text)}' is no Matrix ID, {hint}")
        return False
    if chat == "webex" and not _WEBEX_ID.fullmatch(text):
        reader.error(
            node, path, f"'{short(text)}' is nobody in Webex, write the e-mail address or the id (Y2lzY29z...)"
        )
        return False
    if chat in ("mattermost", "rocketchat") and not _USER_NAME.fullmatch(text):
        reader.error(node, path, f"'{short(text)}' is no user name, write it as in the profile, without the @: octocat")
        return False
    return True
