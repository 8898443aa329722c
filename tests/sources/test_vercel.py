"""Vercel's webhooks: golden events of the bodies in ``vercel/``, forged signatures, and what no body may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.event import Ignored
from bridge.sources import vercel
from tests.sources import common, thin

SENDER = common.Sender("vercel", vercel, "x-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("vercel") == {word: status.value for word, status in vercel.STATUS.items()}


BODY = SENDER.bodies["deployment.created"].read_bytes()


def test_only_a_signature_of_this_body_by_one_of_the_secrets_verifies() -> None:
    common.refuses_forgeries(SENDER, BODY, "x-vercel-signature")
    assert len(SENDER.sent(BODY).headers["x-vercel-signature"]) == 40  # SHA-1 in hex


@pytest.mark.parametrize(("word", "status"), vercel.STATUS.items())
def test_every_state_has_its_word(word: str, status: str) -> None:
    assert SENDER.event_of("deployment.created", lambda body: body.update(type=f"deployment.{word}")).status == status


def test_an_unknown_state_is_shown_and_never_taken_for_success() -> None:
    event = SENDER.event_of("deployment.succeeded", lambda body: body.update(type="deployment.melted"))
    assert (event.status, event.description) == ("unknown", "melted")


@pytest.mark.parametrize(
    "type_", ["deployment.check-rerequested", "deployment.integration.action.start", "domain.created", "", None, 7]
)
def test_what_is_no_state_of_a_deployment_is_ignored(type_: object) -> None:
    assert isinstance(SENDER.read("deployment.created", lambda body: body.update(type=type_)), Ignored)


def test_a_deployment_that_is_ready_succeeded_and_promoted_speaks_once_of_its_success() -> None:
    run = thin.folded(SENDER, *(f"deployment.{word}" for word in ("created", "succeeded", "ready", "promoted")))
    assert (run.state, run.news) == (("success", 1), [True, True, False, False])


def test_a_late_beginning_does_not_undo_an_end() -> None:
    run = thin.folded(SENDER, "deployment.error", "deployment.created")
    assert (run.state, run.news) == (("failure", 1), [True, False])


def test_the_id_in_the_body_is_the_deliverys() -> None:
    assert vercel.identify(SENDER.sent(BODY)).key == "evt_1"
    assert vercel.identify(SENDER.sent(b"no json")).key.startswith("sha256:")


NEEDED = frozenset({"payload", "deployment", "id", "type", "links"})


@pytest.mark.parametrize("name", ["deployment.created"])
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)
