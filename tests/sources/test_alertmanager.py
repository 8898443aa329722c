"""Alertmanager's webhooks: golden events of the bodies in ``alertmanager/``, and what no body may do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Event
from bridge.sources import alertmanager
from tests.sources import common, thin
from tests.test_deciding import LIVE, Decisions, owed, rule

SENDER = common.Sender("alertmanager", alertmanager, "x-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("alertmanager") == {word: status.value for word, status in alertmanager.STATUS.items()}


def test_nothing_is_signed_so_no_secret_lets_anything_in() -> None:
    thin.signs_nothing(SENDER)


def test_a_group_is_one_run_whose_every_change_is_news_and_whose_repetition_is_none() -> None:
    names = ["firing", "joined", "joined", "partly", "resolved", "resolved", "again"]
    run = thin.folded(SENDER, *(f"group.{name}" for name in names))
    assert run.news == [True, True, False, True, True, False, True]
    assert run.state == ("failure", 1)


def test_a_late_repetition_does_not_undo_that_it_is_over() -> None:
    run = thin.folded(SENDER, "group.resolved", "group.firing")
    assert run.state == ("success", 1)


def test_one_living_message_follows_a_group_to_its_end() -> None:
    deciding = Decisions(rule("alerts", LIVE))
    owing = [owed(deciding.add(SENDER.event_of(f"group.{name}"))) for name in ("firing", "joined", "resolved")]
    assert owing == [["builds alert live"]] * 3
    assert [run.status for run in deciding.runs.values()] == ["success"]


def test_groups_without_a_key_are_told_apart_by_their_labels() -> None:
    def without_key(name: str, **labels: str) -> str:
        def change(body: Any) -> None:
            body.pop("groupKey")
            body["groupLabels"] |= labels

        run = SENDER.event_of(name, change).run
        assert run is not None
        return run.id

    assert without_key("group.firing") == without_key("group.resolved")
    assert without_key("group.firing") != without_key("group.firing", cluster="b")


def test_without_any_time_the_count_of_those_that_fire_shows_a_change() -> None:
    def timeless(body: Any) -> None:
        for alert in body["alerts"]:
            alert.update(startsAt=None, endsAt=None)

    events = [SENDER.event_of(f"group.{name}", timeless) for name in ("joined", "joined", "partly", "resolved")]
    assert thin.Folding(*events).news == [True, False, True, True]


@pytest.mark.parametrize(("word", "status"), [*alertmanager.STATUS.items(), ("melting", "unknown")])
def test_every_status_has_its_word(word: str, status: str) -> None:
    assert SENDER.event_of("group.firing", lambda body: body.update(status=word)).status == status


def test_without_a_status_a_group_fires_while_one_of_its_alerts_does() -> None:
    assert SENDER.event_of("group.partly", lambda body: body.pop("status")).status == "failure"
    assert SENDER.event_of("group.resolved", lambda body: body.pop("status")).status == "success"
    assert SENDER.event_of("group.firing", lambda body: body.update(status=None, alerts=[])).status == "unknown"


NEEDED = frozenset({"alerts", 0, 1})


@pytest.mark.parametrize("name", ["group.partly"])
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "webhook.firing.json": {
        "status": "failure",
        "url": "http://cobalt:9090/graph?g0.expr=avg+by%28host%29+%28sensors_temp_input%7Bfeature%3D~%22core_%5B0-9%5D%2B"
        "%22%7D%29+%3E+15&g0.tab=1",
    },
    "webhook.go-neb-0.json": {"url": "http://alertmanager"},  # it tells no status
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("alertmanager") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)


@common.needs_shared
def test_a_real_group_shows_each_of_its_alerts() -> None:
    event = thin.reads(SENDER, "webhook.firing.json", REAL["webhook.firing.json"])
    assert isinstance(event, Event)
    assert (event.title, event.description) == ("High CPU Temperature", "High CPU core temperature")
    assert [text for _, text in event.facts] == ["CPU core temperature is 34.75C", "CPU core temperature is 17.625C"]
