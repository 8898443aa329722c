"""Google Chat by Google's own definition: is every message that we send one of theirs?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.destinations import google_chat
from bridge.message import Button
from tests.altered import replace
from tests.destinations.test_every_look import LONG, everywhere
from tests.fakes.google_chat_definition import PYTHON
from tests.hostile import HOSTILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no google-apps-chat: `make slow` puts it into .venv-google-chat"),
]

GOLDEN = Path(__file__).parent / "google_chat"
OPTIONS = google_chat.Options.model_validate({"url": "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t"})


def refused(bodies: list[Any]) -> list[str]:
    """Return what is wrong with each message, an empty text where nothing is."""
    lines = "".join(json.dumps(one) + "\n" for one in bodies)
    script = Path(__file__).parents[1] / "fakes" / "google_chat_definition.py"
    done = subprocess.run([PYTHON, script], input=lines, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split("\n")[:-1]


def test_whatever_is_sent_is_a_message() -> None:
    bodies = [json.loads(path.read_text()) for path in GOLDEN.glob("*.json") if path.name != "hostile.json"]
    bodies += json.loads((GOLDEN / "hostile.json").read_text()).values()
    bodies.append(bodies[0] | {"thread": {"threadKey": "k"}})
    for text in (*HOSTILE, *LONG):
        message = replace(everywhere(text), buttons=(Button(text, "https://example.com/"),) * 9, mentions=("123456",))
        bodies.append(google_chat.payload(message, OPTIONS))
    assert [one for one in refused(bodies) if one] == []


def test_a_wrong_message_is_refused() -> None:
    good = json.loads((GOLDEN / "run-broken.json").read_text())
    widgets = [{"textParagraf": {"text": "x"}}]
    card = {"cardId": "c", "card": {"sections": [{"widgets": widgets}]}}
    assert all(refused([good | {"fallbackText": 7}, good | {"cardsV2": [card]}, good | {"colour": "red"}]))
