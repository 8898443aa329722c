"""Which rules want this event, and what is owed because of it?

Pure: rules and an event in, targets and reasons out. `explain` is the same function with its reasons kept, so that
what it says is what happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import msgspec
from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridge import message
from bridge.event import (
    ALWAYS,
    ESCALATION,
    FINISHED,
    NEWLY_FAILING,
    REMINDER,
    UNSUCCESSFUL,
    Change,
    Event,
    Kind,
    Status,
    Target,
)
from bridge.hours import Hours
from bridge.message import COLLECTED, DEFAULT_TEMPLATE
from bridge.schedule import Schedule
from bridge.units import ordinal, span

HEARD_UNASKED = frozenset({Kind.PIPELINE, Kind.DEPLOYMENT, Kind.RELEASE, Kind.ALERT})
"""What a rule without `kind` hears: a run speaks for its tasks; pushes and the like are heard when named."""

STATUS_GROUPS = {"finished": FINISHED, "unsuccessful": UNSUCCESSFUL}


# -- patterns ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """One pattern as written: GitHub's branch filters, or ``/regex/``."""

    text: str
    ignore_case: bool = False
    literal_brackets: bool = False
    plus_repeats: bool = False

    @cached_property
    def _matches(self) -> Callable[[str], Any]:
        flags = re.IGNORECASE if self.ignore_case else 0
        if is_regex(self.text):
            return re.compile(self.text[1:-1], flags).search
        pattern = glob_to_regex(self.text, literal_brackets=self.literal_brackets, plus_repeats=self.plus_repeats)
        return re.compile(pattern, flags | re.DOTALL).fullmatch

    def matches(self, value: str) -> bool:
        return self._matches(value) is not None


def is_regex(text: str) -> bool:
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def glob_to_regex(text: str, *, literal_brackets: bool = False, plus_repeats: bool = False) -> str:
    """Return a filter pattern of GitHub Actions as a regular expression.

    ``*`` stays within a segment, ``**`` crosses ``/`` (``**/`` also matches nothing), ``?`` makes the character before
    it optional, ``+`` repeats it (in refs: elsewhere a plus is a plus), ``[a-z]`` is one character, a backslash takes
    the next character as it is.
    https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet
    """
    out: list[str] = []
    single = False  # whether what came last is one character, so that ? and + may follow
    i = 0
    while i < len(text):
        char, start = text[i], i
        if char == "*":
            i += len(text) - i - len(text[i:].lstrip("*"))
            whole_segment = text.startswith("/", i) and (start == 0 or text[start - 1] == "/")
            if i - start > 1 and whole_segment:
                out.append("(?:.*/)?")
                i += 1
            else:
                out.append(".*" if i - start > 1 else "[^/]*")
            single = False
            continue
        if single and (char == "?" or (char == "+" and plus_repeats)):
            out.append(char)
            single, i = False, i + 1
            continue
        if char == "[" and not literal_brackets and (end := text.find("]", i + 2)) > 0:
            inside = text[i + 1 : end]
            negated = inside[:1] in "!^"
            out.append(f"[{'^' if negated else ''}{_class(inside[negated:])}]")
            i = end + 1
        else:
            i += char == "\\" and i + 1 < len(text)
            out.append(re.escape(text[i]))
            i += 1
        single = True
    return "".join(out)


def _class(inside: str) -> str:
    """Return the inside of a class as `re` takes it; two hyphens, bare, it keeps for what it does not have yet."""
    return re.sub(r"[\\\]\[^&~|]", lambda found: "\\" + found[0], inside).replace("--", "-\\-")


# -- conditions --------------------------------------------------------------------------------------------------------


class MatchError(ValueError):
    """A condition that cannot be: the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Condition:
    """One key of a `match`: one of `include` must hold (or it is empty), none of `exclude` may."""

    key: str
    include: tuple[Pattern | bool | int, ...] = ()
    exclude: tuple[Pattern | bool | int, ...] = ()

    def holds(self, event: Event) -> bool:
        seen = KEYS[self.key].see(event)
        if any(_fits(wanted, seen) for wanted in self.exclude):
            return False
        return not self.include or any(_fits(wanted, seen) for wanted in self.include)

    def __str__(self) -> str:
        wanted = [_say(entry) for entry in self.include] + [f"not {_say(entry)}" for entry in self.exclude]
        return f"{self.key}: {', '.join(wanted)}"


def _fits(wanted: Pattern | bool | int, seen: tuple[Any, ...]) -> bool:
    if isinstance(wanted, bool):
        return any(isinstance(value, bool) and value is wanted for value in seen)
    if isinstance(wanted, int):
        return any(not isinstance(value, bool) and value == wanted for value in seen)
    return any(isinstance(value, str) and wanted.matches(value) for value in seen)


def _say(wanted: Pattern | bool | int) -> str:
    return wanted.text if isinstance(wanted, Pattern) else str(wanted).lower()


@dataclass(frozen=True)
class _Key:
    """What a key of `match` looks at (`see`: all values, of which one must fit) and which values it takes."""

    see: Callable[[Event], tuple[Any, ...]]
    form: str = "pattern"  # pattern | word | flag | flag or number
    words: tuple[str, ...] = ()
    ignore_case: bool = False
    literal_brackets: bool = False
    plus_repeats: bool = False


def _one(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def changes(event: Event) -> tuple[str, ...]:
    """Return the words of `change` that hold: a Change, and whether something fails anew."""
    told = (event.change.value,) if event.change is not None else ()
    return (*told, NEWLY_FAILING) if event.fails_anew else told


def _statuses(event: Event) -> tuple[str, ...]:
    return (event.status.value, *(name for name, members in STATUS_GROUPS.items() if event.status in members))


_BOT = re.compile(
    r"(?:.*[\s._\[-])?bot\]?|(?:project|group)_\d+_bot_\w+|(?:dependabot|renovate|github-actions)\b.*", re.I | re.S
)


def by_bot(event: Event) -> bool:
    """Return whether the author goes by the name of a bot: ``renovate[bot]``, ``snyk-bot``, GitLab's access tokens.

    https://docs.gitlab.com/user/project/settings/project_access_tokens/#bot-users-for-projects
    """
    mailbox = (event.author_email or "").partition("@")[0].rpartition("+")[2]  # GitHub: 49699333+dependabot[bot]@...
    return any(_BOT.fullmatch(name) for name in (event.author, event.author_name, mailbox) if name)


KEYS: dict[str, _Key] = {
    "source": _Key(lambda event: (event.source, event.type)),
    "kind": _Key(lambda event: (event.kind.value,), "word", tuple(kind for kind in Kind if kind is not Kind.DIGEST)),
    "repository": _Key(lambda event: _one(event.repository), ignore_case=True),
    "branch": _Key(lambda event: _one(event.branch), plus_repeats=True),
    "tag": _Key(lambda event: _one(event.tag), plus_repeats=True),
    "pull_request": _Key(lambda event: (event.on_pull_request, *_one(event.pull_request)), "flag or number"),
    "draft": _Key(lambda event: (bool(event.draft),), "flag"),
    "fork": _Key(lambda event: (bool(event.fork),), "flag"),
    "private": _Key(lambda event: _one(event.private), "flag"),
    "status": _Key(_statuses, "word", (*Status, *STATUS_GROUPS)),
    "change": _Key(changes, "word", (*Change, NEWLY_FAILING)),
    "flaky": _Key(lambda event: (event.flaky,), "flag"),
    "pipeline": _Key(lambda event: _one(event.pipeline)),
    "task": _Key(lambda event: _one(event.task and event.task.name)),
    # A login has no character classes, but bots are called "dependabot[bot]".
    "author": _Key(
        lambda event: tuple(dict.fromkeys(x for x in (event.author, event.author_name, event.author_email) if x)),
        ignore_case=True,
        literal_brackets=True,
    ),
    "bot": _Key(lambda event: (by_bot(event),), "flag"),
    "environment": _Key(lambda event: _one(event.environment)),
    "label": _Key(lambda event: event.labels),
}
"""Every key of `match` but `if`."""

SYNONYMS = {
    "failed": "failure",
    "fail": "failure",
    "failing": "failure",
    "passed": "success",
    "succeeded": "success",
    "passing": "success",
    "canceled": "cancelled",
    "timed_out": "timeout",
    "started": "running",
    "in_progress": "running",
    "pending": "queued",
    "completed": "finished",
    "repo": "repository",
    "actor": "author",
    "bots": "bot",
    "workflow": "pipeline",
    "job": "task",
    "pr": "pull_request",
    "labels": "label",
}
"""What others call it, for "did you mean"."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'x'?`` or nothing."""
    known = tuple(known)
    near = [SYNONYMS[word]] if SYNONYMS.get(word) in known else get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""


def condition(key: str, value: Any) -> Condition:
    """Return the condition ``key: value`` of a `match`; raise MatchError in words for who wrote it."""
    if key not in KEYS:
        raise MatchError(f"unknown key '{key}'{suggest(key, (*KEYS, 'if'))}")
    include: list[Pattern | bool | int] = []
    exclude: list[Pattern | bool | int] = []
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise MatchError("an empty list matches nothing, leave the key out to match everything")
    for entry in entries:
        if isinstance(entry, dict):
            if set(entry) != {"not"}:
                raise MatchError("only `not` can stand here: {not: pattern}")
            excluded = entry["not"] if isinstance(entry["not"], list) else [entry["not"]]
            if not excluded:
                raise MatchError("an empty list excludes nothing, leave `not` out")
            exclude += [_entry(key, item) for item in excluded]
        else:
            include.append(_entry(key, entry))
    return Condition(key, tuple(include), tuple(exclude))


def _entry(key: str, value: Any) -> Pattern | bool | int:
    known = KEYS[key]
    if known.form == "flag":
        if isinstance(value, bool):
            return value
        raise MatchError("write true or false")
    if known.form == "flag or number":
        if isinstance(value, bool | int):
            return value
        raise MatchError("write true, false or a number")
    if value is None:
        raise MatchError("nothing is written here; a value that begins with # or * needs quotes, and null is no value")
    if not isinstance(value, str):
        raise MatchError(f'{value!r} is not text, put it in quotes: "{value}"')
    if not value:
        raise MatchError("an empty pattern matches nothing")
    if known.form == "word" and not is_regex(value) and not any(char in value for char in "*?["):
        if value not in known.words:
            choice = ", ".join(known.words)
            raise MatchError(f"'{value}' is none of {choice}{suggest(value, known.words)}")
        return Pattern(re.sub(r"([*?\[\\])", r"\\\1", value))
    if value.startswith("!"):
        raise MatchError(f"'{value}': an exclamation mark is not the way to exclude, write {{not: \"{value[1:]}\"}}")
    pattern = Pattern(value, known.ignore_case, known.literal_brackets, known.plus_repeats)
    try:
        pattern.matches("")
    except re.error as error:
        raise MatchError(f"'{value}' is no pattern: {error}") from error
    return pattern


# -- `if` --------------------------------------------------------------------------------------------------------------

_expressions = ImmutableSandboxedEnvironment()


def names(event: Event) -> dict[str, Any]:
    """Return what an `if` (and a template) can name, from an event."""
    values: dict[str, Any] = {name: getattr(event, name) for name in Event.__struct_fields__}
    task, run = event.task, event.run
    values |= {
        "event": event,
        "task": task and task.name,
        "step": task and task.step,
        "label": event.labels,
        "run": run,
        "attempt": (run.attempt if run else None) or 1,
        "number": run.number if run else None,
        "finished": event.status.finished,
        "unsuccessful": event.status.unsuccessful,
    }
    return values


NAMES = frozenset(names(Event(source="", type="", kind=Kind.PIPELINE)))


@dataclass(frozen=True)
class Expression:
    """A Jinja expression over the names of an event."""

    text: str

    @cached_property
    def _evaluate(self) -> Callable[..., Any]:
        return _expressions.compile_expression(self.text, undefined_to_none=True)

    def holds(self, event: Event) -> bool:
        return bool(self.evaluate(event)[0])

    def evaluate(self, event: Event) -> tuple[Any, str]:
        """Return the value and, when it could not be had, why."""
        try:
            return self._evaluate(**names(event)), ""
        except Exception as error:  # whatever an operator's expression makes of a stranger's words, it is a "no"
            return False, str(error) or type(error).__name__


def expression(text: Any) -> Expression:
    """Return the `if` of a match; raise MatchError when it does not parse or names what does not exist."""
    if not isinstance(text, str):
        raise MatchError('write a Jinja expression as text: "duration > 600 and attempt == 1"')
    try:
        tree = _expressions.parse("{{ (" + text + ") }}")
        # Before anything compiles it: Jinja works out constants then, and 9**9**9 takes for ever.
        if any(tree.find_all((nodes.Call, nodes.Pow))):
            raise MatchError("calls and ** are not for conditions, compare names and use filters")
        unknown = meta.find_undeclared_variables(tree) - NAMES
        _expressions.compile_expression(text)
    except TemplateSyntaxError as error:
        raise MatchError(f"no expression: {error.message}") from error
    if unknown:
        name = sorted(unknown)[0]
        raise MatchError(f"unknown name '{name}'{suggest(name, NAMES)}")
    return Expression(text)


# -- rules -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the configuration. `to` carries the overrides of each destination already."""

    name: str
    conditions: tuple[Condition, ...] = ()
    expression: Expression | None = None
    to: tuple[Goal, ...] = ()
    stop: bool = False
    digest: Schedule | None = None  # it speaks of no single event, but of all that it hears, at these times
    tells_empty: bool = False  # with digest: also when there is nothing to tell
    after: int = 1  # the failure in a row with which a row begins
    ignores_flaky: bool = False  # what passes when it is run again was never broken
    hours: Hours | None = None
    escalate: Escalation | None = None

    @cached_property
    def names_kind(self) -> bool:
        return any(condition.key == "kind" for condition in self.conditions)

    @cached_property
    def names_pull_requests(self) -> bool:
        """Whether the rule says what it thinks of pull requests or forks; one that does not means its own branches."""
        return any(condition.key in ("pull_request", "fork") for condition in self.conditions)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One destination of a rule, with what the rule (or an override) says about it. `template` None: by kind."""

    destination: str
    template: str | None = None
    channel: str | None = None
    live: bool = False
    thread: bool = False
    mention: tuple[str, ...] = ()
    mention_when: tuple[str, ...] = (Change.BROKEN,)
    settle: float = 0.0  # seconds
    repeat: float = 0.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """Whom a rule tells that something is still broken after so many seconds."""

    after: float
    to: tuple[Goal, ...]


class Verdict(msgspec.Struct, frozen=True):
    """What one rule says of one event. `failed` is the first condition that did not hold, `saw` what it looked at."""

    rule: str
    matched: bool
    failed: str = ""
    saw: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: matches" if self.matched else f"{self.rule}: no: {self.failed}; saw {self.saw}"


class Routing(msgspec.Struct, frozen=True):
    """What all rules say of one event, in their order, and the messages owed."""

    verdicts: tuple[Verdict, ...]
    targets: tuple[Target, ...]

    @property
    def matched(self) -> tuple[str, ...]:
        return tuple(verdict.rule for verdict in self.verdicts if verdict.matched)


STEADY = frozenset({"source", "kind", "repository"})
"""Keys of `match` that look at nothing but what `steady` returns: the same for most events of one repository."""


def steady(event: Event) -> tuple[str, str, Kind, str | None]:
    return event.source, event.type, event.kind, event.repository


def worth_asking(rules: Sequence[Rule], event: Event) -> tuple[Rule, ...]:
    """Return the rules that may want an event with this one's source, kind and repository, in their order.

    Whoever remembers the answer by `steady` need not ask hundreds of rules about other repositories for every event.
    """
    if event.kind is Kind.DIGEST:
        return tuple(rule for rule in rules if rule.digest is not None)
    return tuple(
        rule
        for rule in rules
        if rule.digest is None
        and (rule.names_kind or event.kind in HEARD_UNASKED)
        and all(wanted.holds(event) for wanted in rule.conditions if wanted.key in STEADY)
    )


class Index:
    """Rules by the repositories that they name, so that thousands about others need not be asked one by one."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._under: dict[str, list[tuple[int, Rule]]] = {}
        for place, rule in enumerate(rules):
            for name in _named_repositories(rule):
                self._under.setdefault(name, []).append((place, rule))

    def worth_asking(self, event: Event) -> tuple[Rule, ...]:
        """As `worth_asking` of all rules."""
        repository = (event.repository or "").lower()
        owner, name = repository.partition("/")[0] + "/", "/" + repository.rpartition("/")[2]
        found = {place: rule for name in ("", repository, owner, name) for place, rule in self._under.get(name, ())}
        return worth_asking([found[place] for place in sorted(found)], event)


_NAME = re.compile(r"[a-z0-9._/-]+")


def _named_repositories(rule: Rule) -> frozenset[str]:
    """Return each repository, ``owner/`` or ``/name`` that a rule names; nothing but "" where it says less."""
    if rule.digest is not None:  # its own event is of no repository
        return frozenset({""})
    wanted = next((one for one in rule.conditions if one.key == "repository" and one.include), None)
    names = {_named_repository(pattern) for pattern in wanted.include} if wanted is not None else {""}
    return frozenset({""} if "" in names else names)


def _named_repository(pattern: Pattern | bool | int) -> str:
    if not isinstance(pattern, Pattern) or is_regex(pattern.text):
        return ""
    text = pattern.text.lower()
    owner = text.removesuffix("**").removesuffix("*")
    if owner != text and owner.endswith("/") and owner.count("/") == 1:
        text = owner
    name = text.removeprefix("**").removeprefix("*")
    if name != text and len(name) > 1 and name.startswith("/") and name.count("/") == 1:
        text = name
    return text if _NAME.fullmatch(text) else ""


def judge(rule: Rule, event: Event) -> Verdict:
    """Return whether `rule` wants `event`, and if not, the first reason in the order of its file."""
    if event.kind is Kind.DIGEST:
        return _judge_digest(rule, event)
    if rule.digest is not None:
        return Verdict(rule.name, False, f"a digest, told {rule.digest}", "a single event")
    return hears(rule, event)


def _judge_digest(rule: Rule, event: Event) -> Verdict:
    """A digest is wanted by the rule whose it is, and by no other; what a mute kept quiet is told by no rule."""
    told = event.digest.rule if event.digest is not None else ""
    if rule.digest is None or rule.name != told:
        return Verdict(rule.name, False, "it is bridge's own", f"the digest of '{told}'" if told else "a digest")
    return Verdict(rule.name, True)


def hears(rule: Rule, event: Event) -> Verdict:
    """Return whether the conditions of `rule` hold for `event`: for a digest, whether the event is a part of it."""
    if not rule.names_kind and event.kind not in HEARD_UNASKED:
        heard = ", ".join(sorted(HEARD_UNASKED))
        return Verdict(rule.name, False, f"kind is not named, so only {heard} are heard", f"kind {event.kind}")
    seen = seen_by(rule, event)
    # Anybody may send a pull request from the "main" of his fork: that is not the main which a rule speaks of.
    asked = seen.with_(branch=None) if event.fork and not rule.names_pull_requests else seen
    for wanted in rule.conditions:
        if not wanted.holds(asked):
            return _unwanted(rule, wanted, seen, event)
    if rule.expression is not None:
        value, why = rule.expression.evaluate(seen)
        if not value:
            return Verdict(rule.name, False, f"if: {rule.expression.text}", why or repr(value))
    if event.change is not None and seen.change is None:
        return Verdict(rule.name, False, _after(rule), f"the {ordinal(event.failures)}")
    at = event.received_at
    if rule.hours is not None and rule.hours.outside == "drop" and at is not None and not rule.hours.holds(at):
        return Verdict(rule.name, False, str(rule.hours), rule.hours.said(at))
    return Verdict(rule.name, True)


def seen_by(rule: Rule, event: Event) -> Event:
    """Return `event` with the `change` that it has for `rule`: none in a row of failures that is too short for it."""
    change = event.change
    if rule.ignores_flaky and event.flaky:
        change = Change.STILL_PASSING
    elif rule.after > 1 and change is not None:
        change = _late_change(change, event, rule.after)
    return event if change is event.change else event.with_(change=change)


def _late_change(change: Change, event: Event, after: int) -> Change | None:
    """Return what `change` is where a row of failures begins with the one that is so many in a row.

    Where results came late, a row may have grown by more than one since the last of it was told: nobody misses its
    beginning, and what was told as broken is told when it is fixed, and only that.
    """
    if event.status.unsuccessful:
        if event.failures < after:
            return None
        return Change.STILL_FAILING if event.counted_before >= after else Change.BROKEN
    if change is Change.FIXED and event.counted_before < after:
        return Change.STILL_PASSING
    return change


def _unwanted(rule: Rule, wanted: Condition, seen: Event, event: Event) -> Verdict:
    """Return the no of a condition: its own, unless it would hold but for what the rule keeps quiet about."""
    if seen is event or wanted.key != "change" or not wanted.holds(event):
        return Verdict(rule.name, False, str(wanted), _saw(wanted.key, event))
    if rule.ignores_flaky and event.flaky:
        return Verdict(rule.name, False, "flaky: ignore", "passed when run again")
    saw = f"the {ordinal(event.failures)}" if event.status.unsuccessful else f"fixed after {event.counted_before}"
    return Verdict(rule.name, False, _after(rule), saw)


def _after(rule: Rule) -> str:
    return f"after: {rule.after} failures in a row"


def _saw(key: str, event: Event) -> str:
    if key == "pull_request" and event.pull_request is None:
        return "a pull request without a number" if event.on_pull_request else "no pull request"
    if key == "pull_request":
        return str(event.pull_request)
    if key == "branch" and event.fork and event.branch:
        return f"{event.branch} of a fork"
    values = KEYS[key].see(event)
    shown = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    if key == "status":
        return shown[0]
    return ", ".join(dict.fromkeys(shown)) if shown else f"no {key}"


def route(rules: Sequence[Rule], event: Event) -> Routing:
    """Return every rule's verdict and the messages owed, one per destination, channel and template."""
    verdicts: list[Verdict] = []
    targets: dict[str, Target] = {}
    stopped = ""
    for rule in rules:
        if stopped:
            verdicts.append(Verdict(rule.name, False, f"not asked: '{stopped}' stops", "stop: true"))
            continue
        verdict = judge(rule, event)
        verdicts.append(verdict)
        if not verdict.matched:
            continue
        for target in _wanted(rule, event):
            _owe(targets, target)
        if rule.stop:
            stopped = rule.name
    return Routing(tuple(verdicts), _named_once(targets.values()))


def _wanted(rule: Rule, event: Event) -> Iterator[Target]:
    """Yield what a rule that matches wants said: now, again while it fails, and to others if nobody mends it."""
    change = seen_by(rule, event).change
    for goal in rule.to:
        target = _held(rule, _target(rule, goal, event), event)
        yield target
        if goal.repeat and change in (Change.BROKEN, Change.STILL_FAILING):
            yield _reminder(rule, goal, target, event)
    if rule.escalate is not None and change is Change.BROKEN:
        for goal in rule.escalate.to:
            yield _escalated(rule, rule.escalate.after, goal)


def _reminder(rule: Rule, goal: Goal, first: Target, event: Event) -> Target:
    """Return what says again that it fails. One for a track waits for the others: it is said once for all of them."""
    every, until = span(timedelta(seconds=goal.repeat)), first.until
    if rule.hours is not None and event.received_at is not None:
        until = rule.hours.earliest((until or event.received_at) + timedelta(seconds=goal.repeat))
    return Target(
        destination=goal.destination,
        template=message.REMINDER,
        channel=goal.channel,
        rules=(rule.name,),
        wait=goal.repeat,
        until=until,
        gather=True,
        queue=f"track:every {every} in {goal.channel or ''}",
        role=REMINDER,
        again=goal.repeat,
        within=rule.hours.code if rule.hours is not None else "",
        why=f"said again every {every} while it fails",
    )


def _escalated(rule: Rule, after: float, goal: Goal) -> Target:
    return Target(
        destination=goal.destination,
        template=message.REMINDER,
        channel=goal.channel,
        mention=goal.mention,
        rules=(rule.name,),
        wait=after,
        gather=True,
        queue=f"track:escalated to {goal.channel or ''}",
        role=ESCALATION,
        why=f"escalated after {span(timedelta(seconds=after))} if it still fails",
    )


def _named_once(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the targets, nobody mentioned in two posts to one destination; what lives may be an edit, unnoticed.

    Two words may mean one person: so each post knows the words of those before it, and who they name is found out when
    it is sent.
    """
    named: dict[str, tuple[str, ...]] = {}
    found: list[Target] = []
    for target in targets:
        if target.mention and not target.live and not target.role:
            before = named.get(target.destination, ())
            new = tuple(word for word in target.mention if word not in before)
            named[target.destination] = before + new
            target = target.with_(mention=new, named=before if new else ())
        found.append(target)
    return tuple(found)


def _target(rule: Rule, goal: Goal, event: Event) -> Target:
    changed = changes(seen_by(rule, event))
    live = goal.live and event.run is not None
    # A living message speaks for its run; that a task caused it does not make it the task's.
    kind = Kind.PIPELINE if live and event.kind is Kind.TASK else event.kind
    return Target(
        destination=goal.destination,
        template=goal.template or DEFAULT_TEMPLATE[kind],
        channel=goal.channel,
        live=live,
        thread=goal.thread,
        mention=goal.mention if any(word in goal.mention_when for word in (ALWAYS, *changed)) else (),
        quiet_if_flaky=rule.ignores_flaky and not live and event.status.unsuccessful,
        rules=(rule.name,),
        wait=goal.settle,
        gather=goal.settle > 0,
        why=f"waits {span(timedelta(seconds=goal.settle))} for more of the same run" if goal.settle else "",
    )


def _held(rule: Rule, target: Target, event: Event) -> Target:
    """Return the target as it is owed out of the hours of its rule: it waits until they begin, beside its run.

    `digest`: with whatever else waits there for that moment, in one message, which names nobody.
    """
    hours, at = rule.hours, event.received_at
    if hours is None or at is None or hours.holds(at):
        return target
    until = hours.begins(at)
    if hours.outside == "hold":
        return target.with_(until=until, queue="run:held", why=f"held until {hours.said(until)}")
    return Target(
        destination=target.destination,
        template=COLLECTED,
        channel=target.channel,
        rules=target.rules,
        until=until,
        gather=True,
        queue=f"all:collected {until:%Y-%m-%dT%H:%M}Z",
        why=f"collected until {hours.said(until)}",
    )


def _owe(targets: dict[str, Target], new: Target) -> None:
    """Add a target; the same message asked for twice is one message, living if one of the rules wants it to live.

    It waits as long as the rule wants that waits the shortest.
    """
    old = targets.get(new.key)
    if old is None:
        targets[new.key] = new
        return
    sooner = min(old, new, key=lambda target: target.patience)
    targets[new.key] = sooner.with_(
        live=old.live or new.live,
        thread=old.thread or new.thread,
        mention=tuple(dict.fromkeys(old.mention + new.mention)),
        quiet_if_flaky=old.quiet_if_flaky and new.quiet_if_flaky,
        rules=tuple(dict.fromkeys(old.rules + new.rules)),
    )
