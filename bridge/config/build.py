"""What does the whole tree say? The sections in their order, then what only shows when they are seen together."""

from __future__ import annotations

from collections.abc import Collection

from bridge.config import keys, rules, sections
from bridge.config.beside import INCLUDE, PEOPLE_FROM, Beside
from bridge.config.model import Config, DestinationConfig, Person, SourceConfig
from bridge.config.reader import Reader, short
from bridge.config.report import Place
from bridge.config.rules import Names
from bridge.config.yaml import Entry, Mapping, Node, Scalar, Sequence
from bridge.route import Rule

VERSION = 1


def build(
    reader: Reader,
    tree: Node,
    templates: dict[str, str],
    included: Collection[Beside] = (),
    lists: Collection[Beside] = (),
) -> Config:
    """Return the configuration, with the rules of `included` files and the people of `lists`.

    It holds only if no error was reported.
    """
    entries = _top(reader, tree)
    _version(reader, entries)
    server = sections.server(reader, _section(entries, "server"))
    sources = sections.sources(reader, _section(entries, "sources"))
    places = sections.destinations(reader, _section(entries, "destinations"))
    for key in (INCLUDE, PEOPLE_FROM):
        if key in entries:
            reader.texts(entries[key].node, key)
    people: dict[str, Person] = {}
    sections.people(reader, _section(entries, "people"), people)
    for one in lists:
        sections.people(one.reader, one.tree, people)
        reader.report.take(one.reader.report)
    groups = sections.groups(reader, _section(entries, "groups"), people)
    names = Names(sources, places, people, templates, groups)
    found = rules.Found()
    rules.rules(reader, _section(entries, "rules"), names, found)
    for one in included:
        rules.rules(one.reader, one.tree, names, found)
        reader.report.take(one.reader.report)
    tests = tuple(rules.tests(reader, _section(entries, "tests"), names, found.rules))
    destinations = {name: place.config for name, place in places.items() if place.config is not None}
    return Config(
        version=VERSION,
        server=server,
        sources=sources,
        destinations=destinations,
        people=people,
        groups=groups,
        rules=_seen_together(reader, entries, found.rules, names),
        tests=tests,
        templates=templates,
        file=reader.report.file,
        secrets=_secrets(sources, destinations),
        rule_lines={name: line for name, (_, line) in found.places.items()},
        rule_files={name: file for name, (file, _) in found.places.items()},
    )


def _top(reader: Reader, tree: Node) -> dict[str, Entry]:
    if not isinstance(tree, Mapping):
        text = "a configuration is a mapping: it begins with `version: 1` and has `sources:`, `destinations:`, `rules:`"
        raise reader.report.stop(tree.place, "", text)
    entries = {key: entry for key, entry in tree.entries.items() if not key.startswith("x-")}
    return reader.known(entries, "", keys.TOP)


def _section(entries: dict[str, Entry], key: str) -> Node:
    return entries[key].node if key in entries else Scalar(Place(), "")


def _empty(entries: dict[str, Entry], key: str) -> bool:
    match _section(entries, key):
        case Scalar() as scalar:
            return scalar.value is None and not scalar.broken
        case Sequence(items=within) | Mapping(entries=within):
            return not within
    return False


def _version(reader: Reader, entries: dict[str, Entry]) -> None:
    if "version" not in entries:
        return
    node = entries["version"].node
    text = reader.text(node, "version")
    if text is not None and text != str(VERSION):
        reader.error(node, "version", f"this bridge reads version {VERSION}, write `version: {VERSION}`")


def _seen_together(
    reader: Reader, entries: dict[str, Entry], found: dict[str, Rule | None], names: Names
) -> tuple[Rule, ...]:
    """Return the rules, the default one where none is written; warn of what leads nowhere."""
    for key, text in (("sources", "no source, so nothing can come in"), ("destinations", "no destination to tell")):
        if _empty(entries, key):
            reader.report.warn(_place(entries, key), key, text)
    chosen = tuple(rule for rule in found.values() if rule is not None)
    if found or not _empty(entries, "rules"):
        if not reader.report.failed:  # a name that is misspelt in `to` would be told twice
            rules.unreached(reader, _section(entries, "sources"), names, chosen)
        return chosen
    if len(names.destinations) == 1:
        return (rules.default_rule(next(iter(names.destinations))),)
    if names.destinations:
        several = ", ".join(short(name) for name in names.destinations)
        one = short(next(iter(names.destinations)))
        example = f"- {{name: red main, match: {{branch: main, change: [broken, fixed]}}, to: {one}}}"
        text = f"write rules: which of {several} is told of what? for example `{example}`"
        reader.report.error(_place(entries, "rules"), "rules", text)
    return ()


def _place(entries: dict[str, Entry], key: str) -> Place:
    return entries[key].place if key in entries else Place()


def _secrets(sources: dict[str, SourceConfig], destinations: dict[str, DestinationConfig]) -> frozenset[str]:
    """Return every secret value, for taking them out of logs."""
    found = {secret for destination in destinations.values() for secret in sections.secret_values(destination.options)}
    for source in sources.values():
        found.update((*source.secrets, *source.tokens, source.api_token or ""))
    return frozenset(found - {""})
