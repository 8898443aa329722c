"""JSON and foreign text at the border: nothing but Unreadable, and none of a body's words in it."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.codec import clean, decode, dump, first_line, load, web_url
from bridge.errors import Unreadable
from bridge.event import RunRef


class Shape(msgspec.Struct):
    id: int
    name: str | None = None
    inner: Shape | None = None


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_only_the_fields_of_the_shape_are_read() -> None:
    assert decode(b'{"id": 7, "other": {"deep": [1, 2]}}', Shape) == Shape(7)


def test_numbers_in_strings_are_taken() -> None:
    assert decode(b'{"id": "7"}', Shape).id == 7


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"id": 7}x', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": 7, "x": ' + b"[" * 100_000, ""),
        (b'{"id": "topsecret"}', "$.id"),
        (b'{"id": null}', "$.id"),
        (b"{}", "`id`"),
        (b"[]", "object"),
        (b'{"id": 7, "inner": {"id": []}}', "$.inner.id"),
    ],
)
def test_what_does_not_fit_is_unreadable_and_says_where(body: bytes, words: str) -> None:
    with pytest.raises(Unreadable) as found:
        decode(body, Any if words == "nested too deeply" else Shape)  # type: ignore[arg-type]
    assert words in str(found.value)
    assert "topsecret" not in str(found.value)


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for shape in (Shape, dict, str, Any):
        try:
            decode(body, shape)
        except Unreadable as error:
            assert str(error)  # noqa: PT017 - either is right


def test_what_is_ours_is_read_strictly() -> None:
    assert load(dump(RunRef(id="1", number=2)), RunRef) == RunRef(id="1", number=2)
    with pytest.raises(msgspec.MsgspecError):
        load(b'{"id": 1}', RunRef)


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://ci.example.com/a?b=c#d", "http://127.0.0.1:8080/", "https://[::1]/", "HTTPS://ci.example.com"]
)
def test_an_address_that_may_be_shown(url: str) -> None:
    assert web_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "ci.example.com",
        "//ci.example.com",
        "javascript:alert(1)",
        "ftp://ci.example.com",
        "https://",
        "https:///path",
        "https://[::1",
        "https://a b",
        "https://a\nb",
        "https://a/<!channel>",
        "https://a/|text",
        'https://a/"',
        "https://a/`",
        "https://a/" + "x" * 2_000,
    ],
)
def test_an_address_that_may_not(url: str | None) -> None:
    assert web_url(url) is None


# -- foreign text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (None, None),
        ("", None),
        ("  \n ", None),
        ("\x00", None),
        (" a ", "a"),
        ("a\x00b", "ab"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\ud800b", "a\ufffdb"),
        ("\u05d0 👍", "\u05d0 👍"),
    ],
)
def test_clean_takes_out_what_is_no_text(text: str | None, cleaned: str | None) -> None:
    assert clean(text) == cleaned


def test_clean_shortens_with_an_ellipsis() -> None:
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("x" * 11, 10) == "x" * 9 + "…"


@given(st.text(st.characters(), max_size=30) | st.text(st.characters(categories=["Cs", "Cc", "Co"]), max_size=10))
def test_what_is_left_can_be_written_and_is_no_control(text: str) -> None:
    for cleaned in (clean(text, 10), first_line(text, 10)):
        if cleaned is None:
            continue
        assert 0 < len(cleaned) <= 10
        cleaned.encode()
        assert {unicodedata.category(char) for char in cleaned if char not in "\n\t\r"}.isdisjoint({"Cc", "Cs"})


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a"), ("\n\n a \nb", "a"), ("a\r\nb", "a"), ("", None), (None, None), ("\n", None), ("a\u2028b", "a")],
)
def test_the_first_line_that_says_something(text: str | None, line: str | None) -> None:
    assert first_line(text) == line


def test_half_a_surrogate_is_a_replacement_character_and_the_rest_is_read() -> None:
    body = rb'{"a": "x\ud83d b \\ud83d \ud83d\ude00 \udc00"}'
    assert decode(body, dict[str, str]) == {"a": "x\ufffd b \\ud83d \U0001f600 \ufffd"}
