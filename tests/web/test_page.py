"""What is in the page is a message's text and its own links, whatever the text says."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from bridge.message import Bullets, Button, Code, Paragraph, Span
from bridge.store.base import Mute
from bridge.web import page
from bridge.web.feed import Bubble
from tests.altered import replace
from tests.web.bubbles import AT, RUN, bubble, everywhere, message

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "</li></ol></section><form action=https://evil.example>",
    "{{ 7*7 }}{% raw %}",
    "<!--",
    "]]>",
    "&lt;b&gt;&#60;",
    "\x00\ud800\u202e\n\r\t",
    "<!channel> <@U1> [x](https://evil.example)",
    "x" * 10_000,
]


class Seen(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for one, attributes in self.elements if one == tag]


def home(*bubbles: Bubble) -> str:
    return page.home(bubbles, AT, title="bridge", logout=True)


# -- what is muted


def mute(**words: str) -> Mute:
    return Mute(since=AT, until=AT + timedelta(hours=2), id="m3", **words)


def muted(*mutes: Mute) -> str:
    return page.home([], AT, title="bridge", logout=True, mutes=mutes)


def test_what_is_muted_stands_above_with_its_end_and_its_reason() -> None:
    text = Seen(muted(mute(repository="acme/app", branch="main", reason="we move house"), mute())).text
    assert "🔕 acme/app@main is muted until 2026-11-05 16:03 UTC, in 2 h: we move house m3" in text
    assert "🔕 Everything is muted until" in text


def test_where_nothing_is_muted_nothing_is_said_of_it() -> None:
    assert "muted" not in Seen(muted()).text
    assert "mutes" not in Seen(muted()).all("ul", "class")


def test_mutes_that_cannot_be_read_are_not_called_none() -> None:
    html = page.home([], AT, title="bridge", logout=True, mutes=None)
    assert "What is muted is not known now" in Seen(html).text


@pytest.mark.parametrize("value", HOSTILE)
def test_the_words_of_a_mute_are_text_alone(value: str) -> None:
    assert shape(muted(mute(rule=value, reason=value))) == shape(muted(mute(rule="x", reason="x")))


def shape(html: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(sorted(attributes))) for tag, attributes in Seen(html).elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_and_changes_no_element(text: str) -> None:
    html = home(everywhere(text))
    assert shape(html) == shape(home(everywhere("calm")))
    assert Seen(html).all("a", "href") == [f"#{page.channel(everywhere(text))}", RUN]


@pytest.mark.parametrize("text", HOSTILE[:10])
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    assert Seen(home(everywhere(text))).text.count(text) >= 20


@pytest.mark.parametrize("text", HOSTILE)
def test_an_update_can_be_sent_whatever_it_says(text: str) -> None:
    page.update(everywhere(text), AT).encode()


def test_only_web_addresses_become_links() -> None:
    spans = (Span("bad", link="javascript:alert(1)"), Span("good", link="https://example.com/?a=1&b=2"))
    seen = Seen(page.update(bubble(said=message(title="", body=(Paragraph(spans),))), AT))
    assert "https://example.com/?a=1&b=2" in seen.all("a", "href")
    assert "javascript:alert(1)" not in seen.all("a", "href")
    assert set(seen.all("a", "rel")) == {"noopener noreferrer nofollow"}


def test_a_button_without_a_web_address_is_not_shown() -> None:
    said = message(buttons=(Button("Open run", RUN), Button("Steal", "javascript:alert(1)")))
    html = page.update(bubble(said=said), AT)
    assert "Open run" in html
    assert "Steal" not in html


def test_there_is_no_inline_script_or_style() -> None:
    for html in (home(everywhere("calm")), home(), page.form(title="bridge", wrong=True)):
        seen = Seen(html)
        assert all(source for source in seen.all("script", "src"))
        assert not seen.all("style", "media")
        assert not any(name == "style" or name.startswith("on") for _, names in seen.elements for name in names)


def test_the_colour_of_a_message_is_its_bar() -> None:
    assert Seen(page.update(bubble(), AT)).all("rect", "fill") == ["#cf222e"]
    assert Seen(page.update(bubble(said=message(colour="red;}")), AT)).all("rect", "fill") == ["#8b949e"]


def test_an_emoji_is_shown_once() -> None:
    assert page.update(bubble(said=message("🔴 CI broke")), AT).count("🔴") == 1
    assert page.update(bubble(said=message("CI broke")), AT).count("🔴") == 1


def test_blocks_keep_their_form() -> None:
    body = (Code("\n\n  two lines\n  indented"), Bullets(((Span("first"),), (Span("second"),)), ordered=True))
    html = page.update(bubble(said=message(body=body)), AT)
    assert "<pre>\n\n\n  two lines\n  indented</pre>" in html
    assert "<ol><li><span>first</span></li><li><span>second</span></li></ol>" in html


def test_each_destination_has_a_column_and_the_newest_is_last() -> None:
    html = home(
        bubble("1", message("first")),
        bubble("2", message("elsewhere"), destination="oncall"),
        bubble("3", message("last")),
    )
    assert re.findall(r"first|elsewhere|last(?! at)", Seen(html).text) == ["first", "last", "elsewhere"]
    assert Seen(html).all("section", "class") == ["channel", "channel", "empty"]
    assert "3 messages" in html


def test_an_update_is_what_a_fresh_page_shows() -> None:
    one = everywhere("calm")
    assert page.update(one, AT).strip() in home(one)


def test_another_state_is_told_apart_and_the_same_is_not() -> None:
    states = [
        Seen(page.update(one, AT)).all("li", "data-state")[0]
        for one in (bubble(), bubble(), bubble(edits=1), replace(bubble(), changed_at=AT + timedelta(seconds=1)))
    ]
    assert states[0] == states[1]
    assert len(set(states)) == 3


@pytest.mark.parametrize(("edits", "said"), [(0, ""), (1, " · edited"), (3, " · edited 3×")])
def test_edits_are_counted(edits: int, said: str) -> None:
    found = re.search(r" · edited( \d×)?", Seen(page.update(bubble(edits=edits), AT)).text)
    assert (found[0] if found else "") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7300, "2 h ago"),
        (10**6, "11 d ago"),
    ],
)
def test_times_are_said_in_their_largest_unit(seconds: int, said: str) -> None:
    assert page.ago(AT, AT + timedelta(seconds=seconds)) == said


def test_an_empty_page_says_what_to_do() -> None:
    assert "bridge send" in home()
    assert "0 messages" in home()


def test_a_page_without_scripts_reloads_itself() -> None:
    assert '<noscript><meta http-equiv="refresh"' in home()


def test_a_reply_is_told_apart() -> None:
    assert "reply in the thread" in page.update(bubble(thread=True), AT)
    assert "reply in the thread" not in page.update(bubble(), AT)
