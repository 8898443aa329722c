"""What never reaches a log line, and what becomes of one that cannot be written?"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import pytest

from bridge import observe
from bridge.observe import HIDDEN, Redaction, _where_it_broke


def broken(words: str) -> dict[str, Any]:
    """A log line as it is while an exception with a stranger's words is handled."""
    try:
        raise ValueError(words)
    except ValueError:
        return dict(_where_it_broke(None, "error", {"event": "event.stuck", "exc_info": True}))


def test_a_traceback_shows_where_and_what_kind_but_no_words_of_a_stranger() -> None:
    line = broken("the title of a private commit")
    assert "test_observe.py" in line["exception"]
    assert line["exception"].endswith("ValueError")
    assert "private commit" not in str(line)


def test_an_exception_handed_over_as_such_or_as_a_triple_is_shown_alike() -> None:
    error = KeyError("secret words")
    for given in (error, (type(error), error, None)):
        line = _where_it_broke(None, "error", {"event": "x", "exc_info": given})
        assert line == {"event": "x", "exception": "KeyError"}
    assert sys.exc_info()[1] is None
    assert _where_it_broke(None, "info", {"event": "x", "exc_info": None}) == {"event": "x"}


def test_a_log_that_takes_nothing_undoes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is kept and the message is sent by the time that this is told."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space left"):
            full.write("a line\n")
        observe._json_lines("event.accepted", event_id="e1")
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize(
    "text",
    [
        "xoxb-1234-made-up",
        "https://hooks.slack.com/services/T0/B0/made-up",
        "https://discord.com/api/v10/webhooks/1/made-up",
        "https://canary.discord.com/api/webhooks/1/made-up",
        "a-secret-of-the-configuration",
    ],
)
def test_what_is_secret_or_looks_like_it_is_hidden_wherever_it_stands(text: str) -> None:
    redaction = Redaction(["a-secret-of-the-configuration"])
    shown = redaction(
        None, "info", {"event": "x", "why": f"no: {text}", "in": [{"deep": text}], "error": OSError(text)}
    )
    assert "made-up" not in str(shown)
    assert "a-secret" not in str(shown)
    assert shown["why"] == f"no: {HIDDEN}"
