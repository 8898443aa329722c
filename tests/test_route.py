"""Which rules want an event, and what is owed because of it. Patterns and examples are those of docs/rules.md."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.cli.tests import run_tests
from bridge.config import load
from bridge.config.rules import default_rule
from bridge.event import Change, Event, Kind, RunRef, Status, Target, Task
from bridge.route import (
    HEARD_UNASKED,
    KEYS,
    NAMES,
    SYNONYMS,
    Goal,
    Index,
    MatchError,
    Rule,
    condition,
    expression,
    judge,
    names,
    route,
    suggest,
    worth_asking,
)

PAGE = (Path(__file__).parents[1] / "docs" / "rules.md").read_text("utf-8")


def an_event(**said: Any) -> Event:
    said = {"kind": Kind.PIPELINE, "repository": "acme/app", "run": RunRef(id="7001")} | said
    return Event(source="forge", type="github", **said)


def a_rule(*to: str | Goal, name: str = "a rule", stop: bool = False, wanted: str | None = None, **match: Any) -> Rule:
    return Rule(
        name=name,
        conditions=tuple(condition(key, value) for key, value in match.items()),
        expression=expression(wanted) if wanted is not None else None,
        to=tuple(Goal(destination=goal) if isinstance(goal, str) else goal for goal in to),
        stop=stop,
    )


def matches(event: Event, **match: Any) -> bool:
    return judge(a_rule(**match), event).matched


# -- the page ----------------------------------------------------------------------------------------------------------

AROUND = """
version: 1
sources:
  github: {type: github, secret: s}
  cirrus: {type: cirrus, secret: s}
destinations:
  builds: {type: slack, token: xoxb-1, channel: "#builds"}
  oncall: {type: slack, token: xoxb-1, channel: "#oncall"}
  releases: {type: console}
people:
  octocat: {slack: U024BE7LH}
"""
EXAMPLES = re.findall(r"(?s)```yaml\n(.*?)```", PAGE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r"name: (.*)", text)[0])
def test_the_examples_of_the_page_do_what_it_says(example: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(AROUND + example, "utf-8")
    config = load(str(path), {})
    assert config.tests
    result = CliRunner().invoke(run_tests, ["--config", str(path), "--json"])
    assert [case for case in json.loads(result.output) if not case["passed"]] == []


def test_every_key_of_match_and_every_override_has_an_example() -> None:
    examples = "\n".join(EXAMPLES)
    for key in (
        *KEYS,
        "if",
        "not",
        "stop",
        "live",
        "thread",
        "mention",
        "mention_when",
        "channel",
        "template",
        "after",
    ):
        assert re.search(rf"\b{key}: ", examples), key


def _patterns() -> list[tuple[str, str, bool]]:
    rows = re.findall(r"(?m)^\| `(\S+)` \| (.*?) \| (.*?) ?\|$", PAGE)
    cases = []
    for pattern, fits, not_ in rows:
        cases += [(pattern, value, True) for value in re.findall(r"`(\S+)`", fits)]
        cases += [(pattern, value, False) for value in re.findall(r"`(\S+)`", not_)]
    return cases


@pytest.mark.parametrize(("pattern", "value", "fits"), _patterns())
def test_the_table_of_patterns(pattern: str, value: str, fits: bool) -> None:
    assert matches(an_event(branch=value), branch=pattern) is fits


def test_the_table_of_patterns_is_read() -> None:
    assert len(_patterns()) > 50


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("a??", "a?", True),  # only one may follow; the second is a question mark
        ("?", "?", True),  # nothing stands before it
        ("+1", "+1", True),
        ("*+", "ab+", True),
        ("v1[", "v1[", True),
        ("v1[]", "v1[]", True),
        ("a.c", "abc", False),
        ("a\nb", "a\nb", True),
        ("a*", "a\nb", True),
        ("**b", "a\n/b", True),
        ("***", "a/b", True),
        ("[a&&b]", "&", True),
        ("[[]", "[", True),
        ("\\", "\\", True),
        ("/", "/", True),
        ("//", "//", True),
        ("é*", "était", True),
    ],
)
def test_odd_patterns_mean_something_plain(pattern: str, value: str, fits: bool) -> None:
    assert matches(an_event(branch=value), branch=pattern) is fits


@given(st.text(max_size=20))
def test_an_escaped_text_fits_itself(text: str) -> None:
    escaped = "".join("\\" + char if char in "*?+[]\\!/" else char for char in text)
    if escaped:
        assert matches(an_event(branch=text), branch=escaped)


@given(st.text("ab*?+[]!-\\/.(|)^$", min_size=1, max_size=12), st.text("ab/", max_size=8))
@example("[?--]", "")
@example("[--a]", "a")
def test_any_text_is_a_pattern_or_is_refused_in_words(pattern: str, value: str) -> None:
    for key in ("branch", "repository", "author", "pipeline"):
        try:
            wanted = condition(key, pattern)
        except MatchError as error:
            assert str(error)  # noqa: PT017 - either is right
        else:
            wanted.holds(an_event(branch=value, repository=value, author=value, pipeline=value))


def test_many_stars_are_quick() -> None:
    before = time.perf_counter()
    assert not matches(an_event(branch="a/" * 300), branch="*" * 40 + "b")
    assert time.perf_counter() - before < 1


# -- every key of match ------------------------------------------------------------------------------------------------

SEEN: list[tuple[str, dict[str, Any], Any, Any]] = [
    # key, what the event says, a value that fits, a value that does not
    ("source", {}, "forge", "other"),
    ("source", {}, "github", "cirrus"),
    ("kind", {}, "pipeline", "release"),
    ("repository", {"repository": "Acme/App"}, "acme/app", "acme/other"),
    ("repository", {"repository": "group/sub/app"}, "group/**", "group/*"),
    ("branch", {"branch": "main"}, "main", "Main"),
    ("tag", {"tag": "v1"}, "v*", "V*"),
    ("pull_request", {"pull_request": 7}, 7, 8),
    ("pull_request", {"pull_request": 7}, True, False),
    ("pull_request", {"pull_request": 1}, True, 2),
    ("pull_request", {}, False, True),
    ("pull_request", {"fork": True}, True, False),
    ("pull_request", {"trigger": "pull_request"}, True, False),
    ("draft", {"draft": True}, True, False),
    ("draft", {}, False, True),
    ("fork", {"fork": True}, True, False),
    ("fork", {}, False, True),
    ("private", {"private": True}, True, False),
    ("private", {"private": False}, False, True),
    ("status", {"status": Status.TIMEOUT}, "timeout", "failure"),
    ("status", {"status": Status.TIMEOUT}, "finished", "success"),
    ("status", {"status": Status.TIMEOUT}, "unsuccessful", "running"),
    ("status", {"status": Status.CANCELLED}, "finished", "unsuccessful"),
    ("status", {"status": Status.UNKNOWN}, "unknown", "finished"),
    ("status", {"status": Status.FAILURE}, "fail*", "s*"),
    ("change", {"change": Change.FIXED}, "fixed", "broken"),
    ("change", {"change": Change.STILL_FAILING}, "/^still/", "fixed"),
    ("change", {"change": Change.BROKEN}, "newly_failing", "still_failing"),
    ("change", {"change": Change.STILL_FAILING, "newly_failing": ("lint",)}, "newly_failing", "broken"),
    ("change", {"change": Change.STILL_FAILING}, "still_failing", "newly_failing"),
    ("flaky", {"flaky": True}, True, False),
    ("flaky", {}, False, True),
    ("pipeline", {"pipeline": "build + test"}, "build + *", "build"),
    ("task", {"kind": Kind.TASK, "task": Task(id="1", name="lint")}, "lint", "test"),
    ("author", {"author": "OctoCat"}, "octocat", "octodog"),
    ("author", {"author_name": "Mona Lisa"}, "mona *", "octocat"),
    ("author", {"author": "a", "author_email": "mona@example.com"}, "*@example.com", "*@example.org"),
    ("author", {"author": "dependabot[bot]"}, "*[bot]", "*bot"),
    ("author", {"author": "renovateb"}, "*b", "*[bot]"),
    ("bot", {"author": "Renovate[Bot]"}, True, False),
    ("bot", {"author": "acme-bot"}, True, False),
    ("bot", {"author": "a", "author_name": "Acme Bot"}, True, False),
    ("bot", {"author": "a", "author_email": "1+dee[bot]@users.noreply.example"}, True, False),
    ("bot", {"author": "group_7_bot_0f"}, True, False),
    ("bot", {"author": "dependabot-preview"}, True, False),
    ("bot", {"author": "Abbot", "author_name": "Robot Jones", "author_email": "j.talbot@bot.example"}, False, True),
    ("bot", {}, False, True),
    ("environment", {"environment": "production"}, "prod*", "staging"),
    ("label", {"labels": ("bug", "urgent")}, "urgent", "wontfix"),
]


@pytest.mark.parametrize(("key", "said", "fits", "not_"), SEEN)
def test_each_key_sees_its_value(key: str, said: dict[str, Any], fits: Any, not_: Any) -> None:
    event = an_event(**said)
    match = {"kind": "task"} if event.kind is Kind.TASK else {}
    assert matches(event, **match, **{key: fits})
    assert matches(event, **match, **{key: [not_, fits]})
    assert not matches(event, **match, **{key: not_})
    if not isinstance(fits, dict):
        assert not matches(event, **match, **{key: {"not": fits}})
        assert not matches(event, **match, **{key: [fits, {"not": [fits, not_]}]})
        assert matches(event, **match, **{key: {"not": not_}})


def test_every_key_is_tried() -> None:
    assert {key for key, *_ in SEEN} == set(KEYS)


@pytest.mark.parametrize("key", sorted(key for key, known in KEYS.items() if known.form == "pattern"))
def test_what_is_not_told_fits_no_pattern_and_is_never_excluded(key: str) -> None:
    event = Event(source="", type="", kind=Kind.PIPELINE)
    if key == "source":
        pytest.skip("always told")
    assert not matches(event, **{key: "**"})
    assert matches(event, **{key: {"not": "**"}})


def test_private_is_only_what_the_sender_says() -> None:
    assert not matches(an_event(), private=True)
    assert not matches(an_event(), private=False)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("brnch", "main", "unknown key 'brnch', did you mean 'branch'?"),
        ("workflow", "ci", "unknown key 'workflow', did you mean 'pipeline'?"),
        ("status", "failed", "did you mean 'failure'?"),
        ("status", "pending", "did you mean 'queued'?"),
        ("kind", "pipelin", "did you mean 'pipeline'?"),
        ("change", "Fixed", "is none of broken, still_failing, fixed, still_passing, newly_failing"),
        ("branch", "!main", 'write {not: "main"}'),
        ("branch", [], "an empty list"),
        ("branch", {"not": []}, "an empty list"),
        ("branch", "", "an empty pattern"),
        ("branch", None, "nothing is written here"),
        ("branch", 1.1, 'put it in quotes: "1.1"'),
        ("branch", {"nit": "main"}, "only `not`"),
        ("branch", {"not": "a", "or": "b"}, "only `not`"),
        ("branch", "[z-a]", "is no pattern"),
        ("branch", "/(/", "is no pattern"),
        ("draft", "yes", "true or false"),
        ("draft", 1, "true or false"),
        ("pull_request", "7", "true, false or a number"),
    ],
)
def test_a_wrong_condition_says_what_to_write(key: str, value: Any, words: str) -> None:
    with pytest.raises(MatchError) as found:
        condition(key, value)
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("branches", KEYS, ", did you mean 'branch'?"),
        ("actor", KEYS, ", did you mean 'author'?"),
        ("actor", ("builds",), ""),
        ("taem", ("team", "oncall"), ", did you mean 'team'?"),
        ("xyz", ("team", "oncall"), ""),
        ("", ("team",), ""),
    ],
)
def test_did_you_mean(word: str, known: Any, hint: str) -> None:
    assert suggest(word, known) == hint


def test_every_synonym_means_a_word_that_exists() -> None:
    assert set(SYNONYMS.values()) <= {str(word) for key in KEYS.values() for word in key.words} | set(KEYS)


# -- kind, forks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DIGEST])
def test_a_rule_without_kind_hears_runs_deployments_releases_and_alerts(kind: Kind) -> None:
    verdict = judge(a_rule(), an_event(kind=kind))
    assert verdict.matched == (kind in {"pipeline", "deployment", "release", "alert"})
    assert verdict.matched == (kind in HEARD_UNASKED)
    assert matches(an_event(kind=kind), kind=kind.value)
    assert matches(an_event(kind=kind), kind={"not": "pipeline"}) == (kind is not Kind.PIPELINE)


def test_an_if_names_no_kind() -> None:
    assert not judge(a_rule(wanted="kind == 'push'"), an_event(kind=Kind.PUSH)).matched


def test_the_branch_of_a_fork_is_seen_only_by_rules_that_speak_of_forks() -> None:
    fork = an_event(branch="main", fork=True)
    verdict = judge(a_rule(branch="main"), fork)
    assert (verdict.matched, verdict.saw) == (False, "main of a fork")
    assert matches(fork, branch={"not": "main"})
    assert matches(fork, branch="main", fork=True)
    assert matches(fork, branch="main", pull_request=True)
    assert not matches(fork, branch="main", pull_request=False)
    assert matches(an_event(branch="main", pull_request=7), branch="main")


def test_the_rule_that_stands_in_for_none_means_the_repositorys_own_default_branch() -> None:
    default = default_rule("builds")
    event = an_event(branch="trunk", default_branch="trunk", change=Change.BROKEN)
    assert judge(default, event).matched
    assert judge(default, event.with_(default_branch=None)).matched
    for other in ({"branch": "topic"}, {"fork": True}, {"pull_request": 7}, {"change": Change.STILL_FAILING}):
        assert not judge(default, event.with_(**other)).matched, other


# -- if ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("duration > 600", True),
        ("duration > 600 and attempt == 1", True),
        ("attempt == 2", False),
        ("run.number == 41 and number == 41", True),
        ("task == 'lint'", True),
        ("step == 'pytest'", True),
        ("'bug' in label and 'bug' in labels", True),
        ("status == 'failure' and unsuccessful and finished", True),
        ("branch in ['main', 'trunk']", True),
        ("title|lower == 'count retries once'", True),
        ("not environment", True),
        ("environment", False),
        ("title > 5", False),
        ("duration / 0", False),
        ("run.nothing.at_all", False),
        ("title|int('x', 99) > 5", False),
        ("facts[3]", False),
    ],
)
def test_an_if_sees_the_names_of_an_event(text: str, holds: bool) -> None:
    event = an_event(
        kind=Kind.TASK,
        status=Status.FAILURE,
        branch="main",
        title="Count retries once",
        duration=700.0,
        labels=("bug",),
        run=RunRef(id="7001", number=41),
        task=Task(id="1", name="lint", step="pytest"),
    )
    assert judge(a_rule(kind="task", wanted=text), event).matched is holds


def test_what_cannot_be_worked_out_is_a_no_with_its_reason() -> None:
    verdict = judge(a_rule(wanted="duration > 600"), an_event())
    assert not verdict.matched
    assert (verdict.failed, "not supported between" in verdict.saw) == ("if: duration > 600", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bransh == 'main'", "unknown name 'bransh', did you mean 'branch'?"),
        ("range(10)", "calls"),
        ("title.upper() == 'X'", "calls"),
        ("9 ** 9 ** 9 > 1", "calls and **"),
        ("branch ==", "no expression"),
        ("branch }} {{ title", "no expression"),
        ("branch) or (title", "no expression"),
        ("", "no expression"),
        (5, "as text"),
        (True, "as text"),
    ],
)
def test_an_if_is_checked_when_it_is_loaded(text: Any, words: str) -> None:
    with pytest.raises(MatchError) as found:
        expression(text)
    assert words in str(found.value)


def test_the_names_are_the_same_for_every_event() -> None:
    full = an_event(kind=Kind.TASK, task=Task(id="1", name="lint"), run=RunRef(id="1", number=2, attempt=3))
    assert set(names(full)) == set(names(an_event(run=None))) == NAMES


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "said", "failed", "saw"),
    [
        ({"repository": ["acme/*", {"not": "acme/app"}]}, {}, "repository: acme/*, not acme/app", "acme/app"),
        ({"branch": "main"}, {"tag": "v1"}, "branch: main", "no branch"),
        ({"pull_request": True}, {}, "pull_request: true", "no pull request"),
        ({"pull_request": 8}, {"pull_request": 7}, "pull_request: 8", "7"),
        ({"pull_request": 8}, {"fork": True}, "pull_request: 8", "a pull request without a number"),
        ({"draft": True}, {}, "draft: true", "false"),
        ({"status": "success"}, {"status": Status.ERROR}, "status: success", "error"),
        ({"change": "broken"}, {}, "change: broken", "no change"),
        ({"label": "x"}, {"labels": ("a", "b")}, "label: x", "a, b"),
        ({"source": "cirrus"}, {}, "source: cirrus", "forge, github"),
        ({"branch": "main", "status": "success"}, {}, "branch: main", "no branch"),
        (
            {"branch": "main"},
            {"kind": Kind.PUSH, "branch": "main"},
            "kind is not named, so only alert, deployment, pipeline, release are heard",
            "kind push",
        ),
    ],
)
def test_a_no_names_the_first_condition_that_failed_and_what_it_saw(
    match: dict[str, Any], said: dict[str, Any], failed: str, saw: str
) -> None:
    verdict = judge(a_rule(**match), an_event(**said))
    assert (verdict.matched, verdict.failed, verdict.saw) == (False, failed, saw)
    assert str(verdict) == f"a rule: no: {failed}; saw {saw}"


def test_a_yes_is_short() -> None:
    assert str(judge(a_rule(), an_event())) == "a rule: matches"


# -- what is owed ------------------------------------------------------------------------------------------------------


def _targets(event: Event, *rules: Rule) -> dict[str, Target]:
    return {target.key: target for target in route(rules, event).targets}


def test_every_rule_that_matches_speaks() -> None:
    routing = route([a_rule("builds", name="one"), a_rule("oncall", name="two")], an_event())
    assert routing.matched == ("one", "two")
    assert [target.destination for target in routing.targets] == ["builds", "oncall"]


def test_one_destination_is_told_once_per_event_and_template() -> None:
    one, two = a_rule("builds", "builds", name="one"), a_rule("builds", name="two")
    (target,) = route([one, two], an_event()).targets
    assert target.rules == ("one", "two")


def test_another_template_or_channel_is_another_message() -> None:
    goals = (
        Goal(destination="builds"),
        Goal(destination="builds", template="short"),
        Goal(destination="builds", channel="#b"),
    )
    assert len(route([a_rule(*goals)], an_event()).targets) == 3


def test_the_same_message_asked_for_twice_lives_and_mentions_for_both() -> None:
    event = an_event(change=Change.BROKEN)
    (target,) = route(
        [
            a_rule(Goal(destination="builds", mention=("author", "octocat")), name="one"),
            a_rule(Goal(destination="builds", live=True, thread=True, mention=("octocat", "mona")), name="two"),
        ],
        event,
    ).targets
    assert (target.live, target.thread) == (True, True)
    assert target.mention == ("author", "octocat", "mona")


@pytest.mark.parametrize(
    ("change", "mention_when", "mentioned"),
    [
        (Change.BROKEN, (Change.BROKEN,), True),
        (Change.STILL_FAILING, (Change.BROKEN,), False),
        (Change.FIXED, (Change.BROKEN, Change.FIXED), True),
        (None, (Change.BROKEN,), False),
        (None, ("always",), True),
        (Change.STILL_PASSING, (Change.FIXED, "always"), True),
    ],
)
def test_a_mention_holds_when_the_rule_says(
    change: Change | None, mention_when: tuple[str, ...], mentioned: bool
) -> None:
    goal = Goal(destination="builds", mention=("author",), mention_when=mention_when)
    (target,) = route([a_rule(goal)], an_event(change=change)).targets
    assert bool(target.mention) is mentioned


def test_a_second_post_to_one_destination_knows_whom_the_first_names() -> None:
    event = an_event(change=Change.BROKEN)
    goals = (
        Goal(destination="builds", mention=("author", "owners")),
        Goal(destination="builds", template="short", mention=("owners", "pusher")),
        Goal(destination="builds", template="long", mention=("pusher",)),
        Goal(destination="oncall", mention=("pusher",)),
    )
    assert [(one.mention, one.named) for one in route([a_rule(*goals)], event).targets] == [
        (("author", "owners"), ()),
        (("pusher",), ("author", "owners")),
        ((), ()),
        (("pusher",), ()),
    ]


def test_a_mention_is_only_on_broken_unless_the_rule_says_otherwise() -> None:
    assert Goal(destination="builds").mention_when == (Change.BROKEN,)


@pytest.mark.parametrize(("kind", "template"), [(Kind.PIPELINE, "run"), (Kind.TASK, "task"), (Kind.PUSH, "push")])
def test_the_template_is_by_kind(kind: Kind, template: str) -> None:
    (target,) = route([a_rule("builds", kind=kind.value)], an_event(kind=kind)).targets
    assert target.template == template


def test_a_living_message_about_a_task_is_that_of_its_run() -> None:
    goal = Goal(destination="builds", live=True)
    (target,) = route([a_rule(goal, kind="task")], an_event(kind=Kind.TASK)).targets
    assert (target.template, target.live) == ("run", True)


def test_what_has_no_run_cannot_live() -> None:
    (target,) = route([a_rule(Goal(destination="builds", live=True))], an_event(run=None)).targets
    assert not target.live


def test_stop_keeps_later_rules_from_what_it_matched_and_only_from_that() -> None:
    rules = [a_rule("oncall", name="one", stop=True, branch="main"), a_rule("builds", name="two")]
    routing = route(rules, an_event(branch="main"))
    assert (routing.matched, len(routing.targets)) == (("one",), 1)
    assert (routing.verdicts[1].failed, routing.verdicts[1].saw) == ("not asked: 'one' stops", "stop: true")
    assert route(rules, an_event(branch="topic")).matched == ("two",)


def test_no_rules_owe_nothing() -> None:
    assert route([], an_event()).targets == ()


# -- any event ---------------------------------------------------------------------------------------------------------

_WORDS = st.none() | st.text(max_size=12) | st.sampled_from(["main", "acme/app", "v1.2.3", "dependabot[bot]"])
_NUMBERS = st.none() | st.integers()
_FLAGS = st.none() | st.booleans()
EVENTS = st.builds(
    Event,
    source=st.sampled_from(["forge", "cirrus", "\ud800"]),
    type=st.sampled_from(["github", "cirrus"]),
    kind=st.sampled_from(Kind),
    status=st.sampled_from(Status),
    change=st.none() | st.sampled_from(Change),
    repository=_WORDS,
    branch=_WORDS,
    tag=_WORDS,
    author=_WORDS,
    author_email=_WORDS,
    title=_WORDS,
    pipeline=_WORDS,
    environment=_WORDS,
    trigger=_WORDS,
    labels=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    pull_request=_NUMBERS,
    draft=_FLAGS,
    fork=_FLAGS,
    private=_FLAGS,
    duration=st.none() | st.floats(),
    run=st.none() | st.builds(RunRef, id=st.text(max_size=5), number=_NUMBERS, attempt=_NUMBERS),
    task=st.none() | st.builds(Task, id=st.text(max_size=3), name=st.text(max_size=5)),
)
RULES = [
    a_rule("builds", name="all"),
    a_rule("builds", name="main", branch=["main", "release/**"], change=["broken", "fixed"]),
    a_rule("oncall", name="tasks", kind="task", task=["*", {"not": "/[0-9]/"}]),
    a_rule("oncall", name="bots", author="*[bot]", stop=True),
    a_rule("oncall", name="odd", kind=["*"], wanted="duration / number > title|length and labels[0] < branch"),
    a_rule(Goal(destination="builds", live=True), name="live", pull_request=[True, 7], status={"not": "finished"}),
    a_rule("releases", name="rest", tag="v[0-9]+*", private=False, label={"not": "x"}),
]


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_any_event_is_judged_by_every_rule_as_by_each_alone(event: Event) -> None:
    routing = route(RULES, event)
    alone = [rule for rule in RULES if judge(rule, event).matched]
    stops = [i for i, rule in enumerate(alone) if rule.stop]
    heard = alone[: stops[0] + 1] if stops else alone
    assert routing.matched == tuple(rule.name for rule in heard)
    asked = route(worth_asking(RULES, event), event)
    assert (asked.matched, asked.targets) == (routing.matched, routing.targets), "the others could not have matched"
    assert len(routing.verdicts) == len(RULES)
    assert all(verdict.matched or (verdict.failed and str(verdict)) for verdict in routing.verdicts)
    assert {name for target in routing.targets for name in target.rules} == set(routing.matched)
    keys = [target.key for target in routing.targets]
    assert len(keys) == len(set(keys))


REPOSITORIES = (
    "acme/app Acme/App acme/** acme/* ACME/* acme/a* ** */app **/APP **/c */* a/b/** /acme.app/ x acme/[ab]pp".split()
)


@given(
    wanted=st.lists(st.lists(st.sampled_from(REPOSITORIES), max_size=3), min_size=1, max_size=6),
    unwanted=st.sampled_from([*REPOSITORIES, None]),
    repository=st.sampled_from(["acme/app", "ACME/app", "acme/other", "a/b/c", "x", "", None]),
)
def test_the_index_leaves_out_no_rule_that_wants_the_event(
    wanted: list[list[str]], unwanted: str | None, repository: str | None
) -> None:
    excluded = [{"not": unwanted}] if unwanted else []
    rules = [
        Rule(name=str(number), conditions=(condition("repository", [*names, *excluded]),) if names else (), to=())
        for number, names in enumerate(wanted)
    ]
    seen = Event(source="github", type="github", kind=Kind.PIPELINE, repository=repository)
    assert Index(rules).worth_asking(seen) == worth_asking(rules, seen)


def test_nobody_is_named_in_two_posts_to_one_destination() -> None:
    broken = an_event(status=Status.FAILURE, change=Change.BROKEN)
    first = Goal(destination="builds", mention=("author", "octocat"))
    more = Goal(destination="builds", channel="#red", mention=("octocat", "hubot"))
    elsewhere = Goal(destination="oncall", mention=("author",))
    found = route([a_rule(first, more), a_rule(elsewhere, name="another")], broken).targets
    assert [target.mention for target in found] == [("author", "octocat"), ("hubot",), ("author",)]


def test_a_living_message_takes_the_name_from_no_post_for_edits_notify_nobody() -> None:
    broken = an_event(status=Status.FAILURE, change=Change.BROKEN)
    live = Goal(destination="builds", live=True, mention=("author",))
    post = Goal(destination="builds", channel="#red", mention=("author",))
    found = route([a_rule(live, post)], broken).targets
    assert [target.mention for target in found] == [("author",), ("author",)]
