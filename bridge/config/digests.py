"""What does ``digest`` of a rule say? When it is told, and whether also when there is nothing to tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bridge import hours
from bridge.config import keys
from bridge.config.reader import Reader
from bridge.config.report import under
from bridge.config.yaml import Entry, Sequence
from bridge.config.yaml import Mapping as Tree
from bridge.schedule import Schedule, parse_clock, parse_days

MAY_STAND_BESIDE = frozenset({"name", "match", "to", "template", "channel", "digest"})
"""The keys of a rule that mean something for a digest: it is one message of its own, about no single event."""


MAY_STAND_IN_TO = frozenset({"template", "channel"})


def digest(reader: Reader, entry: Entry, path: str) -> tuple[Schedule | None, bool]:
    """Return the times of a digest (None when something is wrong with them), and whether it tells empty periods."""
    found = reader.mapping(entry.node, path, keys.DIGEST)
    if not found:
        reader.error(entry.node, path, 'say when: `digest: {every: day, at: "09:00", zone: Europe/Oslo}`')
        return None, False
    days: frozenset[int] | None = frozenset(range(7))
    if "every" in found:
        texts = [text for _, _, text in reader.texts(found["every"].node, under(path, "every"))]
        days = _days(reader, found["every"], under(path, "every"), texts) if texts else None
    else:
        reader.error(entry.node, path, "'every' is missing: day, weekday, week, or days as mon, mon-fri, [mon, thu]")
    at, zone = parse_clock("09:00"), "UTC"
    if "at" in found:
        at = reader.parsed(found["at"].node, under(path, "at"), parse_clock) or at
    if "zone" in found:
        known = reader.parsed(found["zone"].node, under(path, "zone"), hours.zone)
        zone = known.key if known is not None else zone
    empty = "nothing"
    if "when_empty" in found:
        empty = reader.choice(found["when_empty"].node, under(path, "when_empty"), keys.WHEN_EMPTY) or empty
    return (Schedule(days, at, zone) if days else None), empty == "say"


def _days(reader: Reader, entry: Entry, path: str, texts: Collection[str]) -> frozenset[int] | None:
    try:
        return parse_days(texts)
    except ValueError as error:
        reader.error(entry.node, path, str(error))
        return None


def alone(reader: Reader, entries: Mapping[str, Entry], path: str) -> None:
    """Report what stands in a rule beside its digest and has no meaning there."""
    _alone(reader, entries, path, MAY_STAND_BESIDE)
    to = entries["to"].node if "to" in entries else None
    places = to.items if isinstance(to, Sequence) else [to]
    for i, place in enumerate(places):
        if isinstance(place, Tree):
            where = under(path, "to")
            _alone(reader, place.entries, under(where, i) if isinstance(to, Sequence) else where, MAY_STAND_IN_TO)


def _alone(reader: Reader, entries: Mapping[str, Entry], path: str, known: frozenset[str]) -> None:
    for key in sorted(entries.keys() & keys.RULE.keys() - known):
        text = f"`{key}` is for rules about single events, a digest is one message about many: remove it"
        reader.error(entries[key], under(path, key), text)
