"""AppVeyor's webhooks: golden events of the bodies in ``appveyor/``, and what no body may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sources import appveyor
from tests.sources import common, thin

SENDER = common.Sender("appveyor", appveyor, "x-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("appveyor") == {word: status.value for word, status in appveyor.STATUS.items()}


def test_nothing_is_signed_so_no_secret_lets_anything_in() -> None:
    thin.signs_nothing(SENDER)
    assert appveyor.TOKEN_HEADERS == ("authorization",)


@pytest.mark.parametrize(("word", "status"), [*appveyor.STATUS.items(), ("Success", "success"), ("FAILED", "failure")])
def test_the_case_of_a_status_does_not_matter(word: str, status: str) -> None:
    event = SENDER.event_of("build_failure.main", lambda body: body["eventData"].update(status=word))
    assert (event.status, event.description) == (status, None)


def test_an_unknown_status_is_shown_and_never_taken_for_success() -> None:
    event = SENDER.event_of("build_success.tag", lambda body: body["eventData"].update(status="Melted"))
    assert (event.status, event.description) == ("unknown", "melted")


@pytest.mark.parametrize(("passed", "failed", "expected"), [(True, False, "success"), (False, True, "failure")])
def test_without_a_status_the_flags_tell_and_never_the_events_name(passed: bool, failed: bool, expected: str) -> None:
    said = {"status": None, "passed": passed, "failed": failed}
    for name in ("build_failure.main", "build_success.tag"):
        assert SENDER.event_of(name, lambda body: body["eventData"].update(said)).status == expected
    nothing = {"status": None, "passed": None, "failed": None}
    assert SENDER.event_of("build_success.tag", lambda body: body["eventData"].update(nothing)).status == "unknown"


def test_the_branch_that_a_pull_request_goes_into_is_not_its_own() -> None:
    event = SENDER.event_of("build_success.pull_request", lambda body: body["eventData"].pop("pullRequestHeadBranch"))
    assert (event.branch, event.pull_request, ("into", "main") in event.facts) == (None, 7, True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01:30.3741236", 90.374), ("1.00:00:01", 86401.0), ("00:00:00", 0.0), ("1:2", None), (7, None)],
)
def test_a_duration_is_read_with_its_days_and_fractions(text: object, seconds: float | None) -> None:
    event = SENDER.event_of("build_failure.main", lambda body: body["eventData"].update(duration=text))
    assert event.duration == seconds


NEEDED = frozenset({"eventData", "buildId", "jobs", 0, 1})


@pytest.mark.parametrize("name", ["build_failure.main", "build_success.pull_request"])
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "build_success.docs.json": {
        "repository": "JohnSmith/test-web",
        "sha": "ad2366f0c4",
        "status": "success",
        "author": "John Smith",
        "pull_request": 1,  # its branch, master, is the one that it goes into
        "url": "https://ci.appveyor.com/project/JohnSmith/test-web/build/1.0.26",
    },
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("appveyor") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)
