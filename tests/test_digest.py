"""What does a digest say of the results of a period? The rows of the table in docs/quiet.md, and the sums."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.digest import Summary, headline, in_words
from bridge.event import Change, Digest, Event, Kind, RunRef, Standing, Status
from bridge.fold import fold_run, fold_track
from tests.arrivals import NOON

DAY = timedelta(days=1)
SINCE = NOON
UNTIL = NOON + DAY


class Past:
    """Runs of one repository in their order, as `fold` compares them: ``past.run(-2, "failure")`` came 2 h before."""

    def __init__(self) -> None:
        self.summary = Summary(SINCE, UNTIL)
        self._number = 0
        self._tracks: dict[str, Any] = {}

    def run(self, hours: float, status: str, **said: Any) -> Event:
        self._number += 1
        at = SINCE + timedelta(hours=hours)
        words = {"repository": "acme/app", "branch": "main", "pipeline": "CI", "kind": Kind.PIPELINE} | said
        number, attempt = words.pop("number", self._number), words.pop("attempt", 1)
        event = Event(
            source="github",
            type="github",
            status=Status(status),
            run=RunRef(id=str(number), number=number, attempt=attempt),
            url=f"https://github.com/acme/app/actions/runs/{number}",
            finished_at=at,
            received_at=at,
            **words,
        )
        folded = fold_run(event, None)
        assert folded.run is not None
        if folded.track is not None:
            track = self._tracks.get(folded.track)
            event, _, self._tracks[folded.track] = fold_track(folded.event, folded.run, track, folded.track)
        self.summary.hear(event, at)
        return event

    def tell(self) -> Digest:
        return self.summary.digest()

    def of(self, repository: str = "acme/app") -> Standing:
        (found,) = [one for one in self.tell().repositories if one.repository == repository]
        return found


def told(standing: Standing) -> dict[str, list[str]]:
    lists = {"broke": standing.broke, "still": standing.still, "fixed": standing.fixed}
    return {kind: [one.name for one in found] for kind, found in lists.items() if found}


# -- the table in docs/quiet.md: what came before the period | what came in it | what it is called

PAGE = (Path(__file__).parents[1] / "docs" / "quiet.md").read_text("utf-8")
WORDS = {"broke": "broke", "is fixed": "fixed", "is still broken": "still", "is not named": None}


def rows() -> list[tuple[str, str, str | None]]:
    """Every row of the table; ``nothing, or success`` is two of them."""
    section = PAGE.split("| before the period | in it | it |\n|---|---|---|\n")[1].split("\n\n")[0]
    found = []
    for line in section.splitlines():
        before, within, word = (cell.strip() for cell in line.strip("|").split("|"))
        for one in before.replace(", or ", "/").split("/"):
            for other in within.replace(", or ", "/").split("/"):
                found.append((one, other, WORDS[word]))
    return found


def statuses(cell: str) -> list[str]:
    return [] if cell == "nothing" else cell.split(", ")


def test_the_table_has_its_rows() -> None:
    assert len(rows()) == 15


@pytest.mark.parametrize(("before", "within", "word"), rows())
def test_what_a_track_is_called(before: str, within: str, word: str | None) -> None:
    past = Past()
    for i, status in enumerate(statuses(before)):
        past.run(-10 + i, status)
    for i, status in enumerate(statuses(within)):
        past.run(1 + i, status)
    digest = past.tell()
    assert {kind: count for kind in ("broke", "still", "fixed") if (count := getattr(digest, kind))} == (
        {word: 1} if word else {}
    )
    assert [told(one) for one in digest.repositories if told(one)] == ([{word: ["CI on main"]}] if word else [])


def test_where_nothing_ran_and_nothing_is_broken_the_digest_is_empty() -> None:
    past = Past()
    past.run(-20, "success")
    assert past.tell().empty
    past.run(-10, "failure")
    assert not past.tell().empty, "it is broken still"


def test_how_long_it_is_broken_is_counted_from_its_first_failure() -> None:
    past = Past()
    past.run(-30, "success")
    past.run(-20, "failure")
    past.run(3, "failure")
    (still,) = past.of().still
    assert (still.since, still.failures) == (SINCE - timedelta(hours=20), 2)


def test_how_long_it_was_broken_is_told_when_it_is_fixed() -> None:
    past = Past()
    past.run(-20, "failure")
    past.run(4, "success")
    (fixed,) = past.of().fixed
    assert fixed.duration == timedelta(hours=24).total_seconds()


def test_what_passes_when_it_is_run_again_is_flaky_and_was_not_broken() -> None:
    past = Past()
    past.run(1, "failure", number=7, sha="a" * 40)
    past.run(2, "success", number=7, attempt=2, sha="a" * 40)
    past.run(3, "failure", number=8, sha="b" * 40)
    past.run(4, "success", number=8, attempt=2, sha="b" * 40)
    assert told(past.of()) == {}
    assert [(one.name, one.times) for one in past.of().flaky] == [("CI on main", 2)]


def test_flaky_tasks_are_named_and_those_of_the_week_before_are_not() -> None:
    past = Past()
    for hours in (-5, 5):
        event = past.run(hours, "failure").with_(status=Status.SUCCESS, change=Change.FIXED, flaky=True)
        past.summary.hear(event.with_(flaky_tasks=("lint", "test")), SINCE + timedelta(hours=hours))
    assert [(one.name, one.times) for one in past.of().flaky] == [("lint", 1), ("test", 1)]


def test_a_late_result_of_an_overtaken_run_does_not_break_what_is_well() -> None:
    past = Past()
    past.run(1, "success", number=5)
    past.run(2, "failure", number=4)
    assert told(past.of()) == {}
    assert past.of().pulse.runs == 2, "but it ran"


def test_branches_and_pull_requests_and_pipelines_are_apart() -> None:
    past = Past()
    past.run(1, "failure")
    past.run(2, "failure", branch="spare")
    past.run(3, "failure", pull_request=7, branch="topic")
    past.run(4, "failure", pipeline="docs")
    past.run(5, "success", branch="other")
    assert told(past.of()) == {"broke": ["CI on main", "CI on spare", "CI on #7", "docs on main"]}


def test_a_deployment_is_called_by_its_environment() -> None:
    past = Past()
    past.run(1, "failure", kind=Kind.DEPLOYMENT, environment="production")
    assert told(past.of()) == {"broke": ["deployment to production"]}


def test_two_senders_of_one_repository_are_told_together() -> None:
    past = Past()
    past.run(1, "success")
    past.run(2, "success", repository="Acme/App", pipeline="other")
    assert [(one.repository, one.pulse.runs) for one in past.tell().repositories] == [("acme/app", 2)]


@pytest.mark.parametrize("kind", [Kind.TASK, Kind.PUSH, Kind.ALERT, Kind.DIGEST])
def test_only_whole_runs_and_deployments_count(kind: Kind) -> None:
    summary = Summary(SINCE, UNTIL)
    event = Event(source="s", type="s", kind=kind, status=Status.FAILURE, change=Change.BROKEN, repository="acme/app")
    summary.hear(event, SINCE)
    summary.hear(event.with_(kind=Kind.PIPELINE, status=Status.RUNNING, change=None), SINCE)
    assert summary.digest().empty


# -- the sums


def test_rates_and_medians_are_told_beside_those_of_the_week_before() -> None:
    past = Past()
    for i, seconds in enumerate((10, 20, 90)):
        past.run(-5 + i, "success", duration=float(seconds))
    past.run(-1, "failure", duration=1.0)
    for i, seconds in enumerate((100, 200)):
        past.run(1 + i, "success", duration=float(seconds))
    standing, digest = past.of(), past.tell()
    assert (standing.pulse.runs, standing.pulse.rate, standing.pulse.median) == (2, 100, 150.0)
    assert (standing.before.runs, standing.before.rate, standing.before.median) == (4, 75, 20.0), "failures are short"
    assert (digest.pulse, digest.before) == (standing.pulse, standing.before)


@pytest.mark.parametrize(
    ("runs", "passed", "rate"), [(0, 0, None), (1, 0, 0), (1, 1, 100), (1_000, 999, 99), (1_000, 1, 1), (3, 2, 67)]
)
def test_a_hundred_per_cent_means_all(runs: int, passed: int, rate: int | None) -> None:
    past = Past()
    for i in range(runs):
        past.run(1 + i / 1_000, "success" if i < passed else "failure")
    assert past.tell().pulse.rate == rate


def test_the_slowest_runs_of_the_period_are_named() -> None:
    past = Past()
    past.run(-1, "success", duration=9_999.0)
    for i, seconds in enumerate((60, 300, 20, 600, 10)):
        past.run(1 + i, "success", duration=float(seconds))
    assert [one.duration for one in past.of().slowest] == [600, 300, 60]


def test_a_duration_that_is_not_told_is_the_time_between_start_and_end() -> None:
    past = Past()
    past.run(5, "success", started_at=SINCE + timedelta(hours=4))
    assert past.of().pulse.median == 3_600


# -- what is shown of many


def many(repositories: Iterable[str], status: str) -> Past:
    past = Past()
    for i, name in enumerate(repositories):
        past.run(1 + i / 1_000, status, repository=name)
    return past


def test_the_troubled_come_first_and_the_rest_is_counted() -> None:
    past = many((f"acme/well-{i:02}" for i in range(60)), "success")
    for i in range(40):
        past.run(20, "failure", repository=f"acme/bad-{i:02}")
    digest = past.tell()
    shown = len(digest.repositories)
    assert 5 < shown < 40
    assert {one.repository[:8] for one in digest.repositories} == {"acme/bad"}
    assert (digest.more, digest.more_broken) == (100 - shown, 40 - shown)
    assert digest.broke == 40, "the sums are of all"


def test_one_repository_is_told_however_long_its_names() -> None:
    past = many(["acme/" + "x" * 10_000], "failure")
    assert len(past.tell().repositories) == 1


def test_in_words() -> None:
    assert headline(Digest(broke=2, fixed=1_000)) == "2 broke, 1,000 fixed"
    assert headline(Digest()) == "no run ended"
    assert in_words(SINCE, UNTIL, "Europe/Oslo") == "Thu 1 Jan 13:00 to Fri 2 Jan 13:00, Europe/Oslo"


def test_what_went_well_takes_a_few_bytes_a_run() -> None:
    summary = Summary(SINCE, UNTIL)
    event = Event(
        source="github",
        type="github",
        kind=Kind.PIPELINE,
        status=Status.SUCCESS,
        change=Change.STILL_PASSING,
        repository="acme/app",
        branch="main",
        duration=60.0,
    )
    tracemalloc.start()
    for i in range(20_000):
        summary.hear(event, SINCE + timedelta(seconds=i))
    room = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert room < 20_000 * 20, "a few bytes each"
