"""What do ``rules`` and ``tests`` say?

Rules are built by `bridge.route`, which decides what a condition may be; here each of its complaints gets its place,
and every name (destination, person, template, source) is compared with what the configuration has.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

from bridge import hours
from bridge.config import digests, keys
from bridge.config.model import Person, SourceConfig, Step, TestCase
from bridge.config.reader import Reader, near, short
from bridge.config.report import under
from bridge.config.sections import ROLES, Named
from bridge.config.yaml import Entry, Node, Scalar, Sequence
from bridge.config.yaml import Mapping as Tree
from bridge.destinations import DESTINATIONS
from bridge.event import ALWAYS, NEWLY_FAILING, Change, Event, Kind, Role, Status
from bridge.hours import OUTSIDE, Hours, Outside
from bridge.lookups.who import WHO
from bridge.route import KEYS, Condition, Escalation, Expression, Goal, MatchError, Rule, condition, expression
from bridge.sources import SOURCES, TELLS
from bridge.units import parse_duration, span

T = TypeVar("T")

ON_DEFAULT_BRANCH = "not pull_request and not fork and (branch == default_branch or not default_branch)"
"""Some senders do not tell the default branch; then every branch counts."""

_LONGEST_IF = 2_000
_LONGEST_SETTLE = timedelta(minutes=30)
_SHORTEST_REPEAT, _LONGEST_REPEAT = timedelta(minutes=1), timedelta(days=14)
_LONGEST_STORY = timedelta(days=3660)


@dataclass
class Names:
    """What a rule can name, and what rules have named so far."""

    sources: Mapping[str, SourceConfig]
    destinations: Mapping[str, Named]
    people: Mapping[str, Person]
    templates: Collection[str]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


def default_rule(destination: str) -> Rule:
    """Return what holds where one destination is configured and no rule: broken and fixed on the default branch."""
    return Rule(
        name="broken or fixed on the default branch",
        conditions=(condition("change", [Change.BROKEN.value, Change.FIXED.value]),),
        expression=expression(ON_DEFAULT_BRANCH),
        to=(Goal(destination=destination),),
    )


# -- rules -------------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """The rules of all files by name (None for one that is wrong), and the file and line of each."""

    rules: dict[str, Rule | None] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)


def rules(reader: Reader, node: Node, names: Names, found: Found) -> None:
    """Add the rules of one file to those of the files before it."""
    for i, (item, path) in enumerate(_list(reader, node, "rules")):
        nameless = f"{reader.report.file}:rules.{i}"
        if not isinstance(item, Tree):
            reader.error(item, path, "a rule is a mapping, it begins with `- name: ...`")
            found.rules[nameless] = None
            continue
        entries = reader.known(reader.mapping(item, path), path, keys.RULE)
        name = _name(reader, entries, item, path, found)
        found.rules[name or nameless] = _rule(reader, name or "", entries, item, path, names)
        found.places.setdefault(name or nameless, (reader.report.file, item.place.line))


def _list(reader: Reader, node: Node, path: str) -> list[tuple[Node, str]]:
    if isinstance(node, Scalar) and node.value is None:
        return []
    if not isinstance(node, Sequence):
        reader.error(node, path, "write a list here, each item begins with `- name: ...`")
        return []
    return [(item, under(path, i)) for i, item in enumerate(node.items)]


def _name(reader: Reader, entries: dict[str, Entry], node: Node, path: str, found: Found) -> str | None:
    if "name" not in entries:
        reader.error(node, path, "'name' is missing: it is what `bridge explain` and the logs call the rule")
        return None
    name = reader.text(entries["name"].node, under(path, "name"))
    if name is not None and name in found.places:
        file, line = found.places[name]
        where = f"at line {line}" if file == reader.report.file else f"in {file}, line {line},"
        text = f"there is a rule '{short(name)}' {where} already, choose another name"
        reader.error(entries["name"].node, under(path, "name"), text)
        return None
    return name


def _rule(reader: Reader, name: str, entries: dict[str, Entry], node: Node, path: str, names: Names) -> Rule | None:
    conditions, wanted = _match(reader, entries.get("match"), under(path, "match"), names)
    stop = _flag(reader, entries, "stop", path)
    after = _after(reader, entries["after"].node, under(path, "after")) if "after" in entries else 1
    flaky = reader.choice(entries["flaky"].node, under(path, "flaky"), FLAKY) if "flaky" in entries else None
    times, tells_empty = None, False
    if "digest" in entries:
        times, tells_empty = digests.digest(reader, entries["digest"], under(path, "digest"))
        digests.alone(reader, entries, path)
    goals = _goals(reader, entries, node, path, names)
    escalate = (
        _escalate(reader, entries["escalate"].node, under(path, "escalate"), names) if "escalate" in entries else None
    )
    open_at = _hours(reader, entries["hours"].node, under(path, "hours")) if "hours" in entries else None
    for key, (at, where) in _mentioned(entries, path).items():
        _warn_of_untold(reader, at, where, key, conditions or (), names)
    if not name or conditions is None:
        return None
    rule = Rule(
        name=name,
        conditions=conditions,
        expression=wanted,
        to=goals,
        stop=stop,
        hours=open_at,
        escalate=escalate,
        digest=times,
        tells_empty=tells_empty,
        after=after,
        ignores_flaky=flaky == "ignore",
    )
    _warn_of_half_a_story(reader, rule, entries, path)
    return rule


FLAKY = ("tell", "ignore")


def _after(reader: Reader, node: Node, path: str) -> int:
    """Return N of ``{failures: N}``; 1, which is every failure, when it is wrong."""
    entries = reader.known(node.entries, path, ("failures",)) if isinstance(node, Tree) else {}
    if "failures" not in entries:
        reader.error(node, path, "write how many in a row: {failures: 3}")
        return 1
    where = entries["failures"].node
    count = where.value if isinstance(where, Scalar) else None
    if isinstance(count, int) and not isinstance(count, bool) and 2 <= count <= keys.MOST_FAILURES:
        return count
    if not (isinstance(where, Scalar) and where.broken):
        reader.error(where, under(path, "failures"), f"write a number from 2 to {keys.MOST_FAILURES:,}")
    return 1


def _warn_of_half_a_story(reader: Reader, rule: Rule, entries: dict[str, Entry], path: str) -> None:
    """Warn of a rule that would tell a failure at once and then keep quiet about the re-run that passed."""
    broken = Event(source="", type="", kind=Kind.PIPELINE, status=Status.FAILURE, change=Change.BROKEN)
    asked = [one for one in rule.conditions if one.key in ("kind", "status", "change", "flaky")]
    if not rule.ignores_flaky or all(goal.live or goal.settle for goal in rule.to):
        return
    if all(one.holds(broken) for one in asked):
        text = (
            "the failure is told before anybody knows that it passes when run again, and that it passed is not told: "
            "add `settle: 10m`, longer than a run takes, or `live: true`"
        )
        reader.warn(entries["flaky"].node, under(path, "flaky"), text)


def _escalate(reader: Reader, node: Node, path: str, names: Names) -> Escalation | None:
    entries = reader.known(reader.mapping(node, path), path, keys.ESCALATE)
    for key, example in (("after", "2h"), ("to", "oncall")):
        if key not in entries:
            reader.error(node, path, f"'{key}' is missing: write for example `{key}: {example}`")
    after = _repeat(reader, entries["after"].node, under(path, "after"), names) if "after" in entries else None
    said = {key: entry for key, entry in entries.items() if key != "after"}
    goals = _goals(reader, said, node, path, names) if "to" in said else ()
    return Escalation(after=after, to=goals) if after is not None and goals else None


def _hours(reader: Reader, node: Node, path: str) -> Hours | None:
    entries = reader.known(reader.mapping(node, path), path, keys.HOURS)
    for key, example in (("from", '"08:00"'), ("to", '"18:00"'), ("zone", "Europe/Oslo")):
        if key not in entries:
            reader.error(node, path, f"'{key}' is missing: write for example `{key}: {example}`")
    times = {
        key: reader.parsed(entries[key].node, under(path, key), hours.minutes)
        for key in ("from", "to")
        if key in entries
    }
    days: frozenset[int] = frozenset()
    for item, where in reader.items(entries["days"].node, under(path, "days")) if "days" in entries else ():
        days |= reader.parsed(item, where, hours.days) or frozenset()
    zone = reader.parsed(entries["zone"].node, under(path, "zone"), hours.zone) if "zone" in entries else None
    outside = (
        reader.choice(entries["outside"].node, under(path, "outside"), OUTSIDE) if "outside" in entries else "digest"
    )
    start, end = times.get("from"), times.get("to")
    if start is None or end is None or zone is None or outside is None:
        return None
    return Hours(days=days or hours.EVERY_DAY, start=start, end=end, zone=zone, outside=cast("Outside", outside))


def _mentioned(entries: Mapping[str, Entry], path: str) -> dict[Role, tuple[Node, str]]:
    """Return the roles that a rule mentions, each with the place where it does so first."""
    places = [(entries["mention"].node, under(path, "mention"))] if "mention" in entries else []
    goals = entries["to"].node if "to" in entries else None
    for i, item in enumerate(goals.items if isinstance(goals, Sequence) else [goals]):
        if isinstance(item, Tree) and "mention" in item.entries:
            where = under(under(path, "to"), i) if isinstance(goals, Sequence) else under(path, "to")
            places.append((item.entries["mention"].node, under(where, "mention")))
    found: dict[Role, tuple[Node, str]] = {}
    for node, where in places:
        for one in node.items if isinstance(node, Sequence) else [node]:
            if isinstance(one, Scalar) and one.text in ROLES:
                found.setdefault(Role(one.text), (node, where))
    return found


def _warn_of_untold(
    reader: Reader, node: Node, path: str, role: Role, conditions: Collection[Condition], names: Names
) -> None:
    """Warn of a role that no source of the rule tells, or only its API, for which the token is missing."""
    heard = [source for source in names.sources.values() if _heard(conditions, source)]
    if role is Role.AUTHOR or not heard or any(source.type in TELLS[role] for source in heard):
        return
    asked = [source for source in heard if source.type in WHO and role in (Role.REVIEWERS, Role.OWNERS)]
    request = Event(source="", type="", kind=Kind.CHANGE_REQUEST)
    if asked and role is Role.REVIEWERS and any(one.key == "kind" and one.holds(request) for one in conditions):
        return  # a pull request's own webhook tells who is asked
    if not asked:
        known = sorted(TELLS[role] | (frozenset(WHO) if role in (Role.REVIEWERS, Role.OWNERS) else frozenset()))
        what = "no source of this rule tells" if len(heard) > 1 else f"'{short(heard[0].name)}' does not tell"
        reader.warn(node, path, f"{what} {role}, so nobody is notified by that word; these do: {', '.join(known)}")
    elif not any(source.api_token for source in asked):
        lacking = " or ".join(f"'{short(source.name)}'" for source in asked)
        reader.warn(node, path, f"'{role}' needs `api_token` at source {lacking}, so nobody is notified by that word")


def _flag(reader: Reader, entries: Mapping[str, Entry], key: str, path: str) -> bool:
    return key in entries and bool(reader.flag(entries[key].node, under(path, key)))


# -- match -------------------------------------------------------------------------------------------------------------


def _match(
    reader: Reader, entry: Entry | None, path: str, names: Names
) -> tuple[tuple[Condition, ...] | None, Expression | None]:
    """Return the conditions (None when one is wrong) and the expression of a `match`."""
    if entry is None:
        return (), None
    found = reader.known(reader.mapping(entry.node, path), path, keys.MATCH)
    conditions = [_condition(reader, key, e.node, under(path, key), names) for key, e in found.items() if key != "if"]
    wanted = _expression(reader, found["if"].node, under(path, "if")) if "if" in found else None
    if None in conditions or ("if" in found and wanted is None):
        return None, None
    _warn_of_silence(reader, found, path)
    return tuple(one for one in conditions if one is not None), wanted


def _warn_of_silence(reader: Reader, found: Mapping[str, Entry], path: str) -> None:
    """Warn of a `match` that no event can fulfil."""
    if "task" in found and "kind" not in found:
        text = "only events of `kind: task` have a task, and tasks are heard only when named: add `kind: task`"
        reader.warn(found["task"].node, under(path, "task"), text)


def _condition(reader: Reader, key: str, node: Node, path: str, names: Names) -> Condition | None:
    fitting = [_entry_fits(reader, key, item, where, names) for item, where in reader.items(node, path)]
    if not fitting or not all(fitting):
        return None
    return _asked(reader, node, path, lambda: condition(key, _plain(key, node)))


def _entry_fits(reader: Reader, key: str, node: Node, path: str, names: Names) -> bool:
    """Return whether one pattern is right, each item of a `not` by itself, so that its problem stands at its place."""
    if isinstance(node, Tree) and set(node.entries) == {"not"}:
        within = reader.items(node.entries["not"].node, under(path, "not"))
        fitting = [_entry_fits(reader, key, item, where, names) for item, where in within]
        return bool(fitting) and all(fitting)
    if isinstance(node, Scalar) and node.broken:
        return False
    if isinstance(node, Scalar) and not node.text and not node.quoted:
        reader.error(node, path, reader.nothing(node))
        return False
    if _asked(reader, node, path, lambda: condition(key, [_plain(key, node)])) is None:
        return False
    return key != "source" or _source_is_there(reader, node, path, names)


def _asked(reader: Reader, node: Node, path: str, ask: Callable[[], T]) -> T | None:
    """Return what `bridge.route` makes of a condition; its complaint is the problem."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has opinions on some regular expressions that still work
            return ask()
    except MatchError as error:
        reader.error(node, path, short(str(error), 300))
    except (ValueError, OverflowError, RecursionError, MemoryError, TypeError, ArithmeticError):
        reader.error(node, path, "this is no pattern or expression")
    return None


def _plain(key: str, node: Node) -> Any:
    """Return `node` as `bridge.route.condition` takes it: text as written where text is wanted."""
    if isinstance(node, Sequence):
        return [_plain(key, item) for item in node.items]
    if isinstance(node, Tree):
        return {name: _plain(key, entry.node) for name, entry in node.entries.items()}
    if KEYS[key].form in ("flag", "flag or number"):
        return node.value
    return None if node.value is None else node.text


def _source_is_there(reader: Reader, node: Node, path: str, names: Names) -> bool:
    """A source's name without wildcards has to exist: a typing error there would make the rule silent."""
    text = node.text if isinstance(node, Scalar) else ""
    known = {*names.sources, *(source.type for source in names.sources.values())}
    if text in known or re.search(r"[*?\[\\]|^/.*/$", text):
        return True
    if text in SOURCES:
        reader.error(node, path, f"no source of type '{text}' is configured")
    else:
        reader.error(node, path, f"no source named '{short(text)}'{near(text, {*known, *SOURCES})}")
    return False


def _expression(reader: Reader, node: Node, path: str) -> Expression | None:
    text = reader.text(node, path)
    if text is None:
        return None
    if len(text) > _LONGEST_IF:
        reader.error(node, path, f"an expression has at most {_LONGEST_IF:,} characters")
        return None
    return _asked(reader, node, path, lambda: expression(text))


# -- to ----------------------------------------------------------------------------------------------------------------


def _goals(reader: Reader, entries: dict[str, Entry], node: Node, path: str, names: Names) -> tuple[Goal, ...]:
    """Return where a rule sends to; a mapping in `to` overrides for its destination what the rule says for all."""
    if "to" not in entries:
        reader.error(node, path, "'to' is missing: name a destination")
    common = {key: _said(reader, key, entries[key].node, under(path, key), names) for key in _SAID if key in entries}
    goals = []
    for item, where in reader.items(entries["to"].node, under(path, "to")) if "to" in entries else ():
        goal = _goal(reader, item, where, common, names)
        if goal is not None:
            _check_goal(reader, goal, entries, item, (where, path), names)
            goals.append(goal)
    return tuple(goals)


def _goal(reader: Reader, node: Node, path: str, common: Mapping[str, Any], names: Names) -> Goal | None:
    own: dict[str, Any] = {}
    name_node: Node = node
    if isinstance(node, Tree):
        entries = reader.known(node.entries, path, keys.GOAL)
        own = {key: _said(reader, key, entries[key].node, under(path, key), names) for key in _SAID if key in entries}
        if "destination" not in entries:
            reader.error(node, path, "'destination' is missing: which one is this about?")
            return None
        name_node, path = entries["destination"].node, under(path, "destination")
    name = reader.text(name_node, path)
    if name is None:
        return None
    names.used.add(name)
    if name not in names.destinations:
        reader.error(name_node, path, f"no destination named '{short(name)}'{near(name, names.destinations)}")
        return None
    said = {key: value for key, value in {**common, **own}.items() if value is not None}
    place = names.destinations[name].config
    if place is not None and said.get("channel") == getattr(place.options, "channel", None):
        said.pop("channel", None)  # its own channel: the same message as without saying so
    return Goal(destination=name, **said)


def _check_goal(
    reader: Reader, goal: Goal, entries: dict[str, Entry], node: Node, paths: tuple[str, str], names: Names
) -> None:
    """Report what this destination cannot do: another template's form, another channel, notify who has no id there."""
    place = names.destinations[goal.destination]
    if place.type is None:
        return
    own = node.entries if isinstance(node, Tree) else {}

    def told(key: str) -> tuple[Node, str]:
        """Where the words stand that this is about: at the destination, else at the rule."""
        if key in own:
            return own[key].node, under(paths[0], key)
        return entries[key].node, under(paths[1], key)

    if goal.template is not None and not _has(names.templates, goal.template, place.type):
        reader.error(*told("template"), f"no template '{short(goal.template)}'{_near_template(goal.template, names)}")
    wrong = place.config.options.refuses(goal.channel) if goal.channel is not None and place.config else None
    if wrong:
        reader.error(*told("channel"), f"'{goal.destination}' {wrong}")
    for person in goal.mention:
        chat = DESTINATIONS[place.type].PERSON
        known = names.people.get(person)
        asks = getattr(place.config and place.config.options, "find_people", False)
        if asks and known is not None and any("@" in one for one in known.known_as):
            continue
        if chat != "console" and known is not None and known.mention and chat not in known.ids:
            reader.warn(*told("mention"), f"'{person}' has no {chat} id under `people`, so nobody is notified there")


def _has(templates: Collection[str], name: str, platform: str) -> bool:
    return f"{name}.md.j2" in templates or f"{platform}/{name}.json.j2" in templates


def _near_template(name: str, names: Names) -> str:
    bare = name.rsplit("/", 1)[-1].removesuffix(".j2").removesuffix(".md").removesuffix(".json")
    known = sorted({re.sub(r"^.*/|\.(md|json)\.j2$", "", template) for template in names.templates})
    if bare in known and bare != name:
        return f", write '{bare}'"
    return near(bare, known) or f": there is no templates/{short(bare)}.md.j2"


def _said(reader: Reader, key: str, node: Node, path: str, names: Names) -> Any:
    """Return what one key of a rule or of an entry in `to` says, as `Goal` takes it, or None when it is wrong."""
    return _SAID[key](reader, node, path, names)


def _mention(reader: Reader, node: Node, path: str, names: Names) -> tuple[str, ...]:
    found: list[str] = []
    for item, where, text in reader.texts(node, path):
        if text in ROLES or text in names.people:
            found.append(text)
            continue
        if text in names.groups:
            found += names.groups[text]
            continue
        hint = near(text.removeprefix("@"), (*sorted(ROLES), *names.people, *names.groups))
        reader.error(item, where, f"nobody named '{short(text)}' under `people`{hint}")
    return tuple(dict.fromkeys(found))


def _changes(reader: Reader, node: Node, path: str, _names: Names) -> tuple[str, ...]:
    words = [*(change.value for change in Change), NEWLY_FAILING, ALWAYS]
    chosen = [reader.choice(item, where, words) for item, where in reader.items(node, path)]
    return tuple(word for word in chosen if word)


def _repeat(reader: Reader, node: Node, path: str, _names: Names) -> float | None:
    found: timedelta | None = reader.parsed(node, path, parse_duration)
    if found is None or _SHORTEST_REPEAT <= found <= _LONGEST_REPEAT:
        return found.total_seconds() if found is not None else None
    reader.error(node, path, f"write something from {span(_SHORTEST_REPEAT)} to {span(_LONGEST_REPEAT)}")
    return None


def _settle(reader: Reader, node: Node, path: str, _names: Names) -> float | None:
    found: timedelta | None = reader.parsed(node, path, parse_duration)
    if found is None or found <= _LONGEST_SETTLE:
        return found.total_seconds() if found is not None else None
    reader.error(node, path, f"what happens to one run is gathered for {span(_LONGEST_SETTLE)} at most")
    return None


_SAID: dict[str, Callable[[Reader, Node, str, Names], Any]] = {
    "template": lambda reader, node, path, _: reader.text(node, path),
    "channel": lambda reader, node, path, _: reader.text(node, path),
    "live": lambda reader, node, path, _: reader.flag(node, path),
    "thread": lambda reader, node, path, _: reader.flag(node, path),
    "mention": _mention,
    "mention_when": _changes,
    "settle": _settle,
    "repeat": _repeat,
}


# -- what no rule reaches ----------------------------------------------------------------------------------------------


def unreached(reader: Reader, sources: Node, names: Names, found: Collection[Rule]) -> None:
    """Warn of destinations that no rule names, and of sources that no rule can match."""
    for name, place in names.destinations.items():
        if name not in names.used and place.entry is not None:
            reader.warn(place.entry, f"destinations.{name}", "no rule sends to this destination")
    for name, entry in reader.mapping(sources, "sources").items():
        if not any(_hears(rule, names.sources[name]) for rule in found):
            reader.warn(entry, f"sources.{name}", "no rule can match what this source sends")


def _hears(rule: Rule, source: SourceConfig) -> bool:
    return _heard(rule.conditions, source)


def _heard(conditions: Collection[Condition], source: SourceConfig) -> bool:
    event = Event(source=source.name, type=source.type, kind=Kind.PIPELINE)
    return all(one.holds(event) for one in conditions if one.key == "source")


# -- tests -------------------------------------------------------------------------------------------------------------


def tests(reader: Reader, node: Node, names: Names, rule_names: Collection[str]) -> Iterator[TestCase]:
    """Yield the tests; one that is wrong has been reported and is left out."""
    lines: dict[str, int] = {}
    for item, path in _list(reader, node, "tests"):
        if not isinstance(item, Tree):
            reader.error(item, path, "a test is a mapping, it begins with `- name: ...`")
            continue
        entries = reader.mapping(item, path, keys.TEST)
        missing = [key for key in ("name", "expect") if key not in entries]
        if "expect" in missing and "events" in entries:
            missing.remove("expect")  # each of them may have its own
        if not entries.keys() & {"event", "payload", "events"}:
            missing.append("event")
        for key in missing:
            reader.error(
                item, path, f"'{key}' is missing: {keys.TEST[key].text[:1].lower()}{keys.TEST[key].text[1:-1]}"
            )
        name = reader.text(entries["name"].node, under(path, "name")) if "name" in entries else None
        if name is not None and name in lines:
            text = f"there is a test '{short(name)}' at line {lines[name]} already, choose another name"
            reader.error(entries["name"].node, under(path, "name"), text)
        if name is not None:
            lines.setdefault(name, item.place.line)
        event = _event(reader, entries.get("event"), under(path, "event"), names)
        given = _event(reader, entries.get("given"), under(path, "given"), names)
        expect = _expect(reader, entries.get("expect"), under(path, "expect"), names, rule_names)
        steps = tuple(_steps(reader, entries, path, names, rule_names))
        if not missing and "expect" not in entries and not any(step.expect for step in steps):
            reader.error(item, path, "'expect' is missing, of all events or of one of them")
        if name and not missing:
            yield TestCase(
                name=name,
                event=event,
                given=given,
                expect=expect,
                steps=steps,
                line=item.place.line,
                file=reader.report.file,
            )


def _steps(
    reader: Reader, entries: dict[str, Entry], path: str, names: Names, rule_names: Collection[str]
) -> Iterator[Step]:
    """Yield the events of a test: what ``events`` lists, else the one that ``event`` and ``payload`` are."""
    payload = _payload(reader, entries, path)
    if "events" not in entries:
        yield Step(payload=payload)
        return
    for item, where in reader.items(entries["events"].node, under(path, "events")):
        found = reader.mapping(item, where, keys.STEP)
        fields = {key: entry for key, entry in found.items() if key in keys.EVENT}
        expected = _expect(reader, found.get("expect"), under(where, "expect"), names, rule_names)
        yield Step(
            event=_fields(reader, fields, where, names),
            payload=_payload(reader, found, where) or payload,
            at=_at(reader, found.get("at"), under(where, "at")),
            expect=expected,
            line=item.place.line,
        )


def _payload(reader: Reader, entries: dict[str, Entry], path: str) -> str | None:
    return reader.text(entries["payload"].node, under(path, "payload")) if "payload" in entries else None


def _at(reader: Reader, entry: Entry | None, path: str) -> timedelta:
    found: timedelta | None = None
    if entry is not None:
        found = reader.parsed(entry.node, path, lambda text: parse_duration(text.removeprefix("+")))
        if found is not None and found > _LONGEST_STORY:
            reader.error(entry.node, path, f"a test lasts at most {_LONGEST_STORY.days} days")
            return timedelta()
    return found or timedelta()


def _event(reader: Reader, entry: Entry | None, path: str, names: Names) -> dict[str, Any]:
    if entry is None:
        return {}
    return _fields(reader, reader.mapping(entry.node, path, keys.EVENT), path, names)


def _fields(reader: Reader, entries: dict[str, Entry], path: str, names: Names) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, where in entries.items():
        value = _field(reader, key, where.node, under(path, key))
        if key == "source" and value is not None and not _source_is_there(reader, where.node, under(path, key), names):
            value = None
        if value is not None:
            found[key] = value
    return found


def _field(reader: Reader, key: str, node: Node, path: str) -> Any:
    if key in keys.EVENT_WORDS:
        return reader.choice(node, path, [str(word) for word in keys.EVENT_WORDS[key]])
    if key in keys.EVENT_FLAGS:
        return reader.flag(node, path)
    if key in keys.EVENT_LISTS:
        return [text for _, _, text in reader.texts(node, path)]
    if key not in keys.EVENT_NUMBERS:
        return reader.text(node, path)
    value = node.value if isinstance(node, Scalar) else None
    wanted = int | float if key == "duration" else int
    if isinstance(value, wanted) and not isinstance(value, bool):
        return value
    if not (isinstance(node, Scalar) and node.broken):
        reader.error(node, path, "write a number")
    return None


def _expect(
    reader: Reader, entry: Entry | None, path: str, names: Names, rule_names: Collection[str]
) -> dict[str, Any]:
    if entry is None:
        return {}
    found: dict[str, Any] = {}
    entries = reader.mapping(entry.node, path, keys.EXPECT)
    for key, known, what in (
        ("to", names.destinations, "destination"),
        ("rules", rule_names, "rule"),
        ("mention", names.people, "person"),
    ):
        if key in entries:
            found[key] = _named(reader, entries[key].node, under(path, key), known, what)
    if "text" in entries:
        found["text"] = [text for _, _, text in reader.texts(entries["text"].node, under(path, "text"))]
    if "messages" in entries:
        count = _field(reader, "number", entries["messages"].node, under(path, "messages"))
        found |= {"messages": count} if count is not None else {}
    if _flag(reader, entries, "none", path):
        found["none"] = True
    if not entries:
        reader.error(entry.node, path, "nothing is expected: write `to`, `rules` or `none: true`")
    elif found.get("none") and (found.get("to") or found.get("rules")):
        reader.error(entry.node, path, "`none: true` and names contradict each other")
    return found


def _named(reader: Reader, node: Node, path: str, known: Collection[str], what: str) -> list[str]:
    if isinstance(node, Sequence) and not node.items:
        return []  # `to: []`: nobody is told
    found = []
    for item, where, text in reader.texts(node, path):
        if text not in known:
            reader.error(item, where, f"no {what} named '{short(text)}'{near(text, known)}")
        found.append(text)
    return found
