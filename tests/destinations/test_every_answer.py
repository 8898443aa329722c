"""No answer of any chat is too odd to judge: it is good, or one of our errors, and nothing else is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.destinations import (
    discord,
    google_chat,
    matrix,
    mattermost,
    rocketchat,
    slack,
    teams,
    telegram,
    webex,
    webhook,
    zulip,
)
from bridge.errors import DeliveryError

Judge = Callable[[int, dict[str, str], Any], DeliveryError | None]

# Each with the keys that it reads in an answer.
JUDGES: dict[str, tuple[Judge, str]] = {
    "discord": (discord.judge, "code errors _errors retry_after id 0"),
    "google_chat": (google_chat.judge, "error status details reason name"),
    "matrix": (matrix.judge, "errcode error retry_after_ms event_id"),
    "mattermost": (mattermost.judge, "id message"),
    "mattermost-webhook": (lambda http, headers, said: mattermost.judge_webhook(http, headers, said, str(said)), "id"),
    "rocketchat": (rocketchat.judge, "success error errorType status"),
    "slack": (slack.judge_api, "ok error response_metadata messages needed"),
    "slack-webhook": (lambda http, headers, said: slack.judge_webhook(http, headers, str(said)), "ok"),
    "teams": (teams.judge, "error code message"),
    "telegram": (telegram.judge, "ok error_code description parameters retry_after migrate_to_chat_id result"),
    "webex": (webex.judge, "id errors message description"),
    "webhook": (webhook.judge, "error"),
    "zulip": (zulip.judge, "result code msg retry-after id"),
    "zulip-edit": (lambda http, headers, said: zulip.judge(http, headers, said, edit=True), "result code msg"),
}


def answers(keys: str) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["error", "x", "\ud800", ""])
    names = st.sampled_from([*keys.split(), "x"])
    return st.recursive(
        plain | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
        max_leaves=10,
    )


@pytest.mark.parametrize("name", JUDGES)
@given(data=st.data(), http=st.integers(100, 599), header=st.text(max_size=5))
@settings(max_examples=80, deadline=None, database=None)
def test_no_answer_is_too_odd_to_judge(name: str, data: st.DataObject, http: int, header: str) -> None:
    judge, keys = JUDGES[name]
    headers = {"retry-after": header, "x-ratelimit-reset": header, "x-ms-request-id": header}
    judged = judge(http, headers, data.draw(answers(keys)))
    assert judged is None or isinstance(judged, DeliveryError)
    assert judged is None or "\ud800" not in str(judged)
