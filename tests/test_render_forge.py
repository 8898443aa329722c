"""Where a forge has its pages, and how its pull requests are written."""

from __future__ import annotations

import pytest

from bridge.event import Event, Kind, RunRef
from bridge.render import Renderer, View, forge
from bridge.sources import SOURCES
from tests.events import NINE
from tests.test_render import TEMPLATES

SHA = "3a7d90c1e5f2b8460d17c9e4ab35f6820c4d1e97"


def of(type_: str, home: str | None, **said: object) -> Event:
    event = Event(source="x", type=type_, kind=Kind.PIPELINE, repository_url=home, run=RunRef(id="1"), url=home)
    return event.with_(**{"sha": SHA, "branch": "a/b c", "pull_request": 12} | said)


@pytest.mark.parametrize(
    ("type_", "home", "commit", "branch", "request_", "name"),
    [
        ("github", "https://ghe.example.com/acme/app", "/commit/", "/tree/a/b%20c", "/pull/12", "#12"),
        ("cirrus", "https://github.com/acme/app", "/commit/", "/tree/a/b%20c", "/pull/12", "#12"),
        ("azure_devops", "https://github.com/acme/app", "/commit/", "/tree/a/b%20c", "/pull/12", "#12"),
        ("gitlab", "https://git.example.com/a/b/c", "/-/commit/", "/-/tree/a/b%20c", "/-/merge_requests/12", "!12"),
        ("jenkins", "https://gitlab.com/acme/app", "/-/commit/", "/-/tree/a/b%20c", "/-/merge_requests/12", "!12"),
        ("gitea", "https://git.example.com/acme/app", "/commit/", "/src/branch/a/b%20c", "/pulls/12", "#12"),
        ("forgejo", "https://git.example.com/acme/app", "/commit/", "/src/branch/a/b%20c", "/pulls/12", "#12"),
        ("generic", "https://codeberg.org/acme/app", "/commit/", "/src/branch/a/b%20c", "/pulls/12", "#12"),
        ("gogs", "https://git.example.com/acme/app", "/commit/", "/src/a/b%20c", "/pulls/12", "#12"),
        ("bitbucket", "https://bitbucket.org/acme/app", "/commits/", "/branch/a/b%20c", "/pull-requests/12", "#12"),
        (
            *("bitbucket", "https://git.example.com/projects/ACME/repos/app", "/commits/"),
            *("/browse?at=refs/heads/a%2Fb%20c", "/pull-requests/12", "#12"),
        ),
        (
            *("azure_devops", "https://dev.azure.com/acme/tools/_git/app", "/commit/"),
            *("?version=GBa%2Fb%20c", "/pullrequest/12", "!12"),
        ),
    ],
)
def test_a_commit_a_branch_and_a_pull_request_have_the_pages_of_their_forge(
    type_: str, home: str, commit: str, branch: str, request_: str, name: str
) -> None:
    event = of(type_, home)
    assert forge.commit_url(event) == f"{home}{commit}{SHA}"
    assert forge.branch_url(event) == home + branch
    assert forge.pull_request_url(event) == home + request_
    assert forge.pull_request_name(event) == name


def test_the_page_of_the_files_of_bitbucket_data_center_is_that_of_its_repository() -> None:
    home = "https://git.example.com/projects/ACME/repos/app"
    assert forge.commit_url(of("bitbucket", home + "/browse")) == f"{home}/commits/{SHA}"


@pytest.mark.parametrize(
    ("type_", "home"),
    [
        ("jenkins", "https://git.example.com/acme/app"),
        ("cirrus", "https://github.com.example.com/acme/app"),
        ("azure_devops", "https://ghe.example.com/acme/app"),
        ("bitbucket", "https://api.example.com/acme/app"),
        ("github", "https://github.com/acme/app?tab=1"),
        ("github", "javascript:alert(1)"),
        ("gitlab", None),
    ],
)
def test_no_page_is_guessed(type_: str, home: str | None) -> None:
    event = of(type_, home)
    assert (forge.commit_url(event), forge.branch_url(event), forge.pull_request_url(event)) == (None, None, None)


def test_what_is_no_commit_no_branch_of_ours_or_no_pull_request_has_no_page() -> None:
    home = "https://github.com/acme/app"
    assert forge.commit_url(of("github", home, sha="../../settings")) is None
    assert forge.branch_url(of("github", home, fork=True)) is None
    assert forge.pull_request_url(of("github", home, pull_request=None)) is None
    assert forge.pull_request_name(of("github", home, pull_request=None)) is None


def test_a_merge_request_is_called_what_gitlab_calls_it() -> None:
    view = View(event=of("gitlab", "https://gitlab.com/acme/app", pipeline="CI"), now=NINE)
    message = Renderer(TEMPLATES).render("run", view, "console")
    assert "!12" in "".join(span.text for span in message.title)
    assert [button.text for button in message.buttons] == ["Open run", "Open merge request"]


def test_every_forge_is_a_source() -> None:
    assert set(forge.SENDERS) <= set(SOURCES)
