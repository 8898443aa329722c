"""Only the token, or a young cookie made with it, opens the page; another site's page cannot act for a reader."""

from __future__ import annotations

import pytest

from bridge.web import login

TOKEN = "an-admin-token"
NOW = 1_793_887_380.0
HALF_DAY = login.LIFETIME.total_seconds()


@pytest.mark.parametrize("given", ["", "an-admin-toke", "an-admin-tokens", "AN-ADMIN-TOKEN", "ø", "\udcff", "\x00"])
def test_only_the_token_is_the_token(given: str) -> None:
    assert login.right_token(TOKEN, TOKEN)
    assert not login.right_token(given, TOKEN)


def test_a_cookie_is_good_for_twelve_hours() -> None:
    cookie = login.issue(TOKEN, NOW)
    assert login.valid(cookie, TOKEN, NOW)
    assert login.valid(cookie, TOKEN, NOW + HALF_DAY - 1)
    assert not login.valid(cookie, TOKEN, NOW + HALF_DAY)
    assert not login.valid(cookie, TOKEN, NOW - HALF_DAY)


def test_a_cookie_does_not_tell_the_token() -> None:
    assert TOKEN not in login.issue(TOKEN, NOW)


def test_a_cookie_of_another_token_is_worth_nothing() -> None:
    assert not login.valid(login.issue("another", NOW), TOKEN, NOW)


def test_a_cookie_made_younger_is_worth_nothing() -> None:
    _, _, signature = login.issue(TOKEN, NOW - HALF_DAY).partition(".")
    assert not login.valid(f"{int(NOW)}.{signature}", TOKEN, NOW)


@pytest.mark.parametrize(
    "cookie", ["", ".", "x", "1.", "-1.x", "9" * 5_000 + ".x", "١٢٣.x", "1.2.3", "1.\udcff", "\x00.\x00"]
)
def test_a_forged_cookie_is_refused_without_an_error(cookie: str) -> None:
    assert not login.valid(cookie, TOKEN, NOW)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_read(header: str, token: str | None) -> None:
    assert login.bearer(header) == token


@pytest.mark.parametrize(
    ("headers", "cross"),
    [
        ({}, False),  # no browser
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://bridge.example.com"}, True),
        ({"Origin": "https://bridge.example.com"}, False),
        ({"Origin": "https://Bridge.example.com"}, False),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "https://bridge.example.com.evil.example"}, True),
        ({"Origin": "https://bridge.example.com:8443"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "https://["}, True),
        ({"Origin": ""}, True),
    ],
)
def test_a_post_from_another_site_is_seen(headers: dict[str, str], cross: bool) -> None:
    assert login.cross_site(headers, "bridge.example.com") is cross


def test_a_secure_cookie_is_bound_to_its_host() -> None:
    assert login.cookie_name(secure=True) == "__Host-bridge"
    assert login.cookie_name(secure=False) == "bridge"
