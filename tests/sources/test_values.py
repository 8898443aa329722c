"""Single values of foreign JSON: what of them is kept."""

from __future__ import annotations

import pytest

from bridge.sources import _values as values


@pytest.mark.parametrize(
    ("address", "repository", "page"),
    [
        ("https://github.com/acme/app.git", "acme/app", "https://github.com/acme/app"),
        ("https://user:made-up@git.acme.example:8443/acme/app", "acme/app", "https://git.acme.example:8443/acme/app"),
        ("http://git.acme.example/a/b/c.git/", "a/b/c", "http://git.acme.example/a/b/c"),
        ("git@github.com:acme/app.git", "acme/app", "https://github.com/acme/app"),
        ("git@git.acme.example:acme/app.git", "acme/app", None),
        ("ssh://git@git.acme.example:2222/acme/app.git", "acme/app", None),
        ("https://github.com/acme/app/commit/5eb1e0a", "acme/app", "https://github.com/acme/app"),
        ("https://github.com/acme/app/pull/7", "acme/app", "https://github.com/acme/app"),
        ("https://gitlab.com/a/b/c/-/commit/5eb1e0a", "a/b/c", "https://gitlab.com/a/b/c"),
        ("https://github.com/acme", None, None),
        ("/srv/git/acme/app.git", None, None),
        ("https://[bad/acme/app", None, None),
        ("https://github.com:99999/acme/app", None, None),
        ("javascript:alert(1)/x", "alert(1)/x", None),
        ("", None, None),
        (7, None, None),
    ],
)
def test_an_address_names_a_repository_and_never_shows_a_password(
    address: object, repository: str | None, page: str | None
) -> None:
    assert values.place(address) == {"repository": repository, "repository_url": page}


@pytest.mark.parametrize(
    ("value", "year"),
    [
        ("2026-03-02T12:00:00Z", 2026),
        ("2026-03-02T12:00:00.123456789+02:00", 2026),
        ("2026-03-02 12:00:00", 2026),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("soon", None),
        (1772452800, None),
    ],
)
def test_a_time_is_one_that_can_have_been(value: object, year: int | None) -> None:
    found = values.moment(value)
    assert (found.year if found else None) == year


@pytest.mark.parametrize("value", [True, -1, float("nan"), float("inf"), 10**400, "5", None, []])
def test_what_is_no_number_is_no_duration_and_no_time(value: object) -> None:
    assert values.seconds(value) is None
    assert values.milliseconds(value) is None
