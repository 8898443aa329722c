"""Heroku's webhooks: golden events of the bodies in ``heroku/``, forged signatures, and what no body may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Unauthorized
from bridge.sources import heroku
from bridge.verify import REFUSED, hmac_hex
from tests.sources import common, thin

SENDER = common.Sender("heroku", heroku, "x-event")


@pytest.mark.parametrize("name", SENDER.bodies)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    thin.becomes_its_golden(SENDER, name)


def test_the_page_has_every_word() -> None:
    assert thin.page_table("heroku") == {word: status.value for word, status in heroku.STATUS.items()}


BODY = SENDER.bodies["build.pending"].read_bytes()


def test_only_a_signature_of_this_body_by_one_of_the_secrets_verifies() -> None:
    common.refuses_forgeries(SENDER, BODY, "heroku-webhook-hmac-sha256")
    assert len(SENDER.sent(BODY).headers["heroku-webhook-hmac-sha256"]) == 44  # base64, not hex


def test_a_hex_signature_is_refused() -> None:
    with pytest.raises(Unauthorized, match=REFUSED):
        heroku.verify(SENDER.inbound(None, BODY, heroku_webhook_hmac_sha256=hmac_hex(BODY, "s3cret")), ["s3cret"])


@pytest.mark.parametrize(("word", "status"), [*heroku.STATUS.items(), ("expired", "unknown"), (None, "unknown")])
@pytest.mark.parametrize("name", ["build.pending", "release.failed"])
def test_the_status_of_the_object_tells_and_never_the_action(name: str, word: str | None, status: str) -> None:
    event = SENDER.event_of(name, lambda body: body["data"].update(status=word))
    assert event.status == status
    assert event.description == (word if status == "unknown" else None)


def test_addresses_that_are_secrets_reach_no_event() -> None:
    for name in SENDER.bodies:
        assert "never-read" not in str(SENDER.read(name))


def test_a_build_is_one_run_from_its_begin_to_its_end_in_any_order() -> None:
    assert thin.folded(SENDER, "build.pending", "build.succeeded").state == ("success", 1)
    late = thin.folded(SENDER, "build.succeeded", "build.pending")
    assert (late.state, late.news) == (("success", 1), [True, False])


def test_the_events_id_in_the_body_is_the_deliverys() -> None:
    assert heroku.identify(SENDER.sent(BODY)).key == "e-1"
    assert heroku.identify(SENDER.sent(b"[]")).key.startswith("sha256:")


NEEDED = frozenset({"data", "id", "resource", "actor", "app", "user", "slug", "source_blob"})


@pytest.mark.parametrize("name", ["build.pending", "release.failed"])
def test_a_wrong_value_costs_only_its_field(name: str) -> None:
    common.takes_odd_values(SENDER, name, NEEDED)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_nothing_but_ingest_errors_leaves_the_source(data: st.DataObject) -> None:
    common.takes_any_json(SENDER, data)


REAL = {
    "api_release.create.succeeded.json": {
        "sha": "1a5f89db9a6a62f29689b6eeea65e6b6eb0879cd",
        "status": "success",
        "author": "vedant.messi101@gmail.com",
        "url": "https://dashboard.heroku.com/apps/vedant-test/activity/releases/6be9012f-1c42-4f2d-bb99-af152aad07d8",
    },
}


@common.needs_shared
def test_every_real_body_tells_what_stands_in_it() -> None:
    assert common.real("heroku") == set(REAL)
    for file, expected in REAL.items():
        thin.reads(SENDER, file, expected)
