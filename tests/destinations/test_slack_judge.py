"""Every answer that Slack is known to give, and what it means for the message."""

from __future__ import annotations

import pytest

from bridge.destinations.slack import judge_api, judge_webhook
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Transient, Unsure

API: dict[type[DeliveryError], str] = {
    RateLimited: "ratelimited rate_limited message_limit_exceeded",
    Transient: """internal_error fatal_error service_unavailable request_timeout team_added_to_org org_login_required
        external_channel_migrating update_failed streaming_state_conflict some_word_of_tomorrow""",
    Dead: """invalid_auth not_authed account_inactive token_revoked token_expired missing_scope not_allowed_token_type
        access_denied ekm_access_denied enterprise_is_restricted two_factor_setup_required app_access_restricted
        no_permission channel_not_found not_in_channel is_archived restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel messages_tab_disabled team_not_found
        method_deprecated""",
    Rejected: """no_text msg_too_long msg_blocks_too_long invalid_blocks invalid_blocks_format invalid_attachments
        too_many_attachments attachment_payload_limit_exceeded invalid_metadata_format invalid_metadata_schema
        metadata_too_large markdown_text_conflict block_mismatch invalid_arguments invalid_arg_name""",
    Gone: """message_not_found cant_update_message edit_window_closed is_inactive cannot_reply_to_message
        restricted_action_thread_locked restricted_action_non_threadable_channel""",
}
WEBHOOK: list[tuple[int, str, type[DeliveryError]]] = [
    (404, "no_service", Dead),
    (404, "no_active_hooks", Dead),
    (404, "no_team", Dead),
    (404, "channel_not_found", Dead),
    (410, "channel_is_archived", Dead),
    (403, "invalid_token", Dead),
    (403, "action_prohibited", Dead),
    (403, "team_disabled", Dead),
    (400, "posting_to_general_channel_denied", Dead),
    (404, "", Dead),
    (400, "invalid_payload", Rejected),
    (400, "user_not_found", Rejected),
    (400, "too_many_attachments", Rejected),
    (400, "something_new", Rejected),
    (413, "", Rejected),
    (429, "rate_limited", RateLimited),
    (500, "rollup_error", Transient),
    (500, "<html>", Transient),
    (502, "", Transient),
    (404, "<html>a proxy</html>", Transient),
    (403, "<html>a proxy</html>", Transient),
    (302, "", Transient),
    (407, "", Transient),
    (200, "<html>welcome</html>", Unsure),
    (200, "", Unsure),
    (202, "ok", Unsure),
]


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in API.items() for word in words.split()])
def test_every_error_of_the_web_api_has_its_class(kind: type[DeliveryError], word: str) -> None:
    error = judge_api(200, {}, {"ok": False, "error": word})
    assert type(error) is kind


def test_ok_is_good() -> None:
    assert judge_api(200, {}, {"ok": True, "ts": "1.2"}) is None
    assert judge_webhook(200, {}, "ok") is None


@pytest.mark.parametrize(("status", "body", "kind"), WEBHOOK)
def test_every_answer_of_a_webhook_has_its_class(status: int, body: str, kind: type[DeliveryError]) -> None:
    assert type(judge_webhook(status, {}, body)) is kind


@pytest.mark.parametrize(
    "data", [None, {}, [], "ok", {"ok": "yes"}, {"error": 7}, {"error": "Not A Word"}, {"ok": False}]
)
def test_an_answer_that_is_not_slacks_may_have_been_taken(data: object) -> None:
    assert type(judge_api(200, {}, data)) is Unsure
    assert type(judge_api(503, {}, data)) is Transient
    assert type(judge_api(404, {}, data)) is Transient
    assert type(judge_api(302, {}, data)) is Transient
    assert type(judge_api(429, {}, data)) is RateLimited


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", 0.1),
        ("-5", 0.1),
        ("99999999", 3_600.0),
        ("inf", 30.0),
        ("nan", 30.0),
        ("soon", 30.0),
        ("", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
    ],
)
def test_retry_after_is_taken_within_reason(given: str, after: float) -> None:
    for error in (judge_api(429, {"Retry-After": given}, {}), judge_webhook(429, {"retry-after": given}, "")):
        assert isinstance(error, RateLimited)
        assert error.after == after


def test_without_retry_after_half_a_minute_is_waited() -> None:
    error = judge_api(200, {}, {"ok": False, "error": "ratelimited"})
    assert isinstance(error, RateLimited)
    assert error.after == 30.0


def test_a_full_workspace_is_waited_for_long() -> None:
    error = judge_api(200, {}, {"ok": False, "error": "message_limit_exceeded"})
    assert isinstance(error, RateLimited)
    assert error.after >= 600


def test_a_missing_scope_is_named() -> None:
    data = {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "channels:read"}
    assert "add the scope chat:write" in str(judge_api(200, {}, data))
    assert "it has channels:read" in str(judge_api(200, {}, data))
    assert "chat:write" in str(judge_api(200, {}, {"ok": False, "error": "missing_scope", "needed": ["odd\n"]}))


def test_a_rejection_says_which_field() -> None:
    data = {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": ["no more than 50 [/blocks]", 7]}}
    assert str(judge_api(200, {}, data)) == "slack refuses the message: invalid_blocks (no more than 50 [/blocks])"


def test_advice_says_what_to_click() -> None:
    assert "/invite" in str(judge_api(200, {}, {"ok": False, "error": "not_in_channel"}))
    assert "Incoming Webhooks" in str(judge_webhook(404, {}, "no_service"))
