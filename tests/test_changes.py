"""What a result means on its track. The tables are those of docs/changes.md: the page and the test are one."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge import codec, fold
from bridge.event import Change, Event, Kind, Run, RunRef, Status, Track
from bridge.fold import fold_run, fold_track, tag_family, track_key
from tests.events import build_event, build_task, clock, run_event, status_event

PAGE = (Path(__file__).parents[1] / "docs" / "changes.md").read_text("utf-8")


class Results:
    """Runs that end one after the other, each folded into its run and then into its track."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.tracks: dict[str, Track] = {}

    def add(self, event: Event) -> Event:
        folded = fold_run(event, self.runs.get(fold.run_key(event) or ""))
        run = folded.run
        assert run is not None
        told = folded.event
        if folded.news and folded.track is not None:
            told, run, track = fold_track(folded.event, run, self.tracks.get(folded.track), folded.track)
            if track is not None:
                assert codec.load(codec.dump(track), Track) == track
                self.tracks[track.key] = track
        self.runs[run.key] = run
        return told

    def ends(self, number: int, status: str, *, attempt: int = 1, **said: Any) -> Event:
        end = clock(10 * number + attempt)
        said = {"id": f"r{number}", "number": number, "finished_at": end, "received_at": end} | said
        return self.add(run_event(status, 10 * number + attempt, attempt=attempt, **said))


# -- the tables of the page --------------------------------------------------------------------------------------------


def _rows() -> list[tuple[str, ...]]:
    lines = [line.strip().strip("|") for line in PAGE.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip().strip("`") for cell in line.split("|")) for line in lines]
    return [row for row in cells if len(row) >= 5 and re.fullmatch(r"#[\d.]+ \w+", row[1])]


def _told(text: str) -> list[tuple[int, int, str]]:
    """``#1.2 success`` as (number, attempt, status)."""
    found = re.findall(r"#(\d+)(?:\.(\d+))? (\w+)", text)
    return [(int(number), int(attempt or 1), status) for number, attempt, status in found]


def _end_of(name: str) -> datetime | None:
    found = re.fullmatch(r"#(\d+)(?:\.(\d+))?", name)
    return clock(10 * int(found[1]) + int(found[2] or 1)) if found else None


def test_the_page_has_its_tables() -> None:
    assert len(_rows()) >= 35
    assert {Change(row[2]) for row in _rows() if row[2] != "none"} == set(Change)


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row[0]} then {row[1]}")
def test_the_truth_table_of_change(row: tuple[str, ...]) -> None:
    before, now, change, failures, since, *rest = row
    results = Results()
    for number, attempt, status in _told(before):
        results.ends(number, status, attempt=attempt)
    ((number, attempt, status),) = _told(now)
    event = results.ends(number, status, attempt=attempt)
    assert (str(event.change or "none").lower(), event.failures) == (change, int(failures))
    assert event.failing_since == _end_of(since)
    assert (event.overtaken_by or "") == (rest[0] if rest else "")
    assert results.runs[fold.run_key(event) or ""].event == event, "the run's living message shows it too"


# -- results that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "running", "waiting", "unknown"])
def test_only_an_end_has_a_change(status: str) -> None:
    assert Results().ends(1, status).change is None


def test_the_same_result_twice_is_one_result() -> None:
    results = Results()
    results.ends(1, "failure")
    assert results.ends(1, "failure").change is None, "no news, so nothing is compared"
    assert results.ends(2, "failure").failures == 2


def test_a_corrected_result_is_compared_anew_with_the_run_before() -> None:
    results = Results()
    results.ends(1, "success")
    results.add(run_event("success", 21, number=2, id="r2"))
    assert results.add(run_event("failure", 22, number=2, id="r2")).change is Change.BROKEN
    assert results.ends(3, "success").change is Change.FIXED
    (track,) = results.tracks.values()
    assert [result.number for result in track.results] == [1, 2, 3]


def test_a_result_that_turns_out_cancelled_counts_no_more() -> None:
    results = Results()
    results.add(run_event("failure", 11, number=1, id="r1"))
    results.add(run_event("cancelled", 12, number=1, id="r1"))
    assert results.ends(2, "success").change is Change.STILL_PASSING


def test_a_late_result_of_a_replaced_attempt_is_not_put_on_the_track() -> None:
    results = Results()
    results.ends(1, "success", attempt=2)
    assert results.ends(1, "failure", attempt=1).change is None
    assert results.ends(2, "success").change is Change.STILL_PASSING


# -- tracks ------------------------------------------------------------------------------------------------------------

PUSH = run_event("failure", 1)
OTHER_TRACKS = {
    "a branch": {"branch": "release/1"},
    "a tag": {"branch": None, "tag": "v1.2.3"},
    "a tag family": {"branch": None, "tag": "v1.2.3-rc1"},
    "a pull request": {"pull_request": 7},
    "another pull request": {"pull_request": 8},
    "a pull request without its number": {"trigger": "pull_request"},
    "a fork": {"fork": True, "author": "octocat"},
    "a fork of somebody else": {"fork": True, "author": "hubot"},
    "a pipeline": {"pipeline": "nightly"},
    "a repository": {"repository": "acme/other"},
    "a source": {"source": "elsewhere"},
    "a deployment": {"kind": Kind.DEPLOYMENT},
    "an environment": {"kind": Kind.DEPLOYMENT, "environment": "staging"},
    "another environment": {"kind": Kind.DEPLOYMENT, "environment": "production"},
    "a branch called like a fork": {"branch": "main@octocat"},
}


def test_each_has_a_track_of_its_own() -> None:
    keys = [track_key(PUSH), *(track_key(PUSH.with_(**said)) for said in OTHER_TRACKS.values())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("said", OTHER_TRACKS.values(), ids=OTHER_TRACKS.keys())
def test_a_failure_elsewhere_is_not_fixed_here(said: dict[str, Any]) -> None:
    results = Results()
    results.add(PUSH.with_(**said, run=RunRef(id="r1", number=1, attempt=1)))
    assert results.ends(2, "success").change is Change.STILL_PASSING


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pull_request": 7, "branch": "fix"}, {"pull_request": 7, "branch": "renamed"}),
        ({"pull_request": 7, "fork": True, "author": "octocat"}, {"pull_request": 7, "fork": True, "author": "hubot"}),
        ({"branch": None, "tag": "v1.2.3"}, {"branch": None, "tag": "v10.0"}),
        ({"repository": "acme/app"}, {"repository": "Acme/App"}),
    ],
)
def test_these_are_one_track(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert track_key(PUSH.with_(**one)) == track_key(PUSH.with_(**other))


@pytest.mark.parametrize(
    ("tag", "family"),
    [("v1.2.3", "v*"), ("v1.3.0-rc1", "v*-rc*"), ("2026.01.01", "*"), ("nightly", "nightly"), ("app-1/v2", "app-*/v*")],
)
def test_a_tag_family_is_the_tag_without_its_numbers(tag: str, family: str) -> None:
    assert tag_family(tag) == family


# -- order without numbers ---------------------------------------------------------------------------------------------


def _build(name: str, status: str, **said: Any) -> Event:
    return build_event(status, "running", id=name, **said)


def test_without_numbers_the_start_orders_the_track() -> None:
    results = Results()
    results.add(_build("a", "success", started_at=clock(1)))
    results.add(_build("c", "success", started_at=clock(9)))
    late = results.add(_build("b", "failure", started_at=clock(5)))
    assert (late.change, late.overtaken_by) == (Change.BROKEN, "success")


def test_where_no_start_is_told_the_commit_orders_and_then_the_arrival() -> None:
    results = Results()
    results.add(_build("b", "success", committed_at=clock(9)))
    assert results.add(_build("a", "failure", committed_at=clock(5))).overtaken_by == "success"
    results = Results()
    results.add(_build("a", "failure", received_at=clock(1)))
    assert results.add(_build("b", "success", received_at=clock(2))).change is Change.FIXED


def test_of_two_runs_at_one_moment_the_first_to_arrive_stands_first() -> None:
    results = Results()
    results.add(_build("a", "failure", committed_at=clock(5)))
    assert results.add(_build("b", "success", committed_at=clock(5))).change is Change.FIXED


def test_a_run_without_any_time_is_compared_all_the_same() -> None:
    results = Results()
    results.add(_build("a", "failure"))
    assert results.add(_build("b", "success")).change is Change.FIXED


def test_a_run_started_again_keeps_its_place_without_numbers() -> None:
    results = Results()
    results.add(build_task("1", "failure", 2, created=1))
    results.add(_build("4611", "failure"))
    results.add(_build("4612", "success", started_at=clock(10)))
    results.add(build_task("2", "success", 21, created=20))
    again = results.add(_build("4611", "success"))
    assert (again.change, again.overtaken_by) == (Change.FIXED, "success")
    assert results.add(_build("4613", "success", started_at=clock(30))).change is Change.STILL_PASSING


def test_a_commit_that_is_checked_again_counts_as_a_result_of_its_own() -> None:
    results = Results()
    results.add(status_event("failure", 1))
    results.add(status_event("running", 2))
    assert results.add(status_event("success", 3)).change is Change.FIXED


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**400, -(10**400)])
def test_any_number_is_a_place(number: int) -> None:
    results = Results()
    results.add(run_event("failure", 1, id="odd", number=number))
    assert results.ends(2, "success").change in set(Change)


# -- how far back ------------------------------------------------------------------------------------------------------


def test_a_track_keeps_its_newest_results_and_a_row_keeps_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "TRACK_LENGTH", 3)
    results = Results()
    for number in range(1, 9):
        event = results.ends(number, "failure")
    assert (event.failures, event.failing_since) == (8, clock(11))
    (track,) = results.tracks.values()
    assert [result.number for result in track.results] == [6, 7, 8]
    fixed = results.ends(9, "success")
    assert (fixed.change, fixed.failures, fixed.failing_since) == (Change.FIXED, 8, clock(11))
    assert results.ends(10, "failure").failures == 1


def test_a_result_older_than_all_that_is_kept_leaves_the_track_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "TRACK_LENGTH", 2)
    results = Results()
    for number in (5, 6):
        results.ends(number, "success")
    late = results.ends(1, "failure")
    assert (late.change, late.overtaken_by) == (Change.BROKEN, "#6 success")
    assert results.ends(7, "success").change is Change.STILL_PASSING


def test_a_row_begins_when_its_first_run_ended() -> None:
    track = Track(key="t")
    run = Run(key="r", event=PUSH)
    for said, since in (
        ({"finished_at": clock(3), "changed_at": clock(4)}, clock(3)),
        ({"changed_at": clock(4)}, clock(4)),
        ({"changed_at": None, "received_at": clock(5)}, clock(5)),
    ):
        assert fold_track(PUSH.with_(**said), run, track, "t")[0].failing_since == since


def test_a_result_that_does_not_count_makes_no_track() -> None:
    event = run_event("cancelled", 1)
    assert fold_track(event, Run(key="r", event=event), None, "t")[2] is None


def test_every_status_is_a_result_or_passed_over_or_no_end() -> None:
    assert {status for status in Status if status.finished} - fold.COMPARED == {Status.CANCELLED, Status.SKIPPED}
