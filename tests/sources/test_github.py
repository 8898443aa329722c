"""GitHub's webhooks: signed by whom, the same as which, and what they say.

`github/NAME.json` is a body and `github/NAME.event.json` what it becomes; the name begins with X-GitHub-Event.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.codec import dump, form_field
from bridge.errors import IngestError, Unauthorized, Unreadable
from bridge.event import Event, Ignored, Inbound, Kind, Status
from bridge.fold import fold_run
from bridge.sources import github

HERE = Path(__file__).parent / "github"
SHARED = Path(__file__).parents[2] / "../shared"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BODIES = {path.stem: path for path in sorted(HERE.glob("*.json")) if not path.name.endswith(".event.json")}
EVENTS = sorted({name.split(".")[0] for name in BODIES})
FORM = "application/x-www-form-urlencoded"

needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared")


def inbound(event: str | None, body: bytes, content_type: str | None = "application/json", **headers: str) -> Inbound:
    named = {"x-github-event": event, "content-type": content_type}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Inbound("github", {name: value for name, value in named.items() if value is not None}, body, NOW)


def read(name: str) -> Event | Ignored:
    return github.normalise(inbound(name.split(".")[0], BODIES[name].read_bytes()))


def event_of(name: str, change: Callable[[Any], None] = lambda body: None) -> Event:
    """Return the event of a fixture after `change` to its body."""
    body = json.loads(BODIES[name].read_bytes())
    change(body)
    event = github.normalise(inbound(name.split(".")[0], json.dumps(body).encode()))
    assert isinstance(event, Event)
    return event


def said(value: Any) -> Any:
    """Return an event as JSON without what it does not say."""
    if isinstance(value, dict):
        silent = (None, [], "")
        pairs = {key: said(item) for key, item in value.items() if key not in ("restarted", "failures")}
        return {key: item for key, item in pairs.items() if item not in silent}
    return value


# -- golden events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_each_body_becomes_its_golden_event(name: str) -> None:
    golden = json.loads((HERE / f"{name}.event.json").read_bytes())
    out = read(name)
    assert ({"ignored": out.reason} if isinstance(out, Ignored) else said(json.loads(dump(out)))) == golden


@pytest.mark.parametrize("name", BODIES)
def test_a_saved_body_can_be_sent_again_as_github_would(name: str) -> None:
    body = BODIES[name].read_bytes()
    headers = github.sign(body, "s3cret", delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    received = Inbound("github", {key.lower(): value for key, value in headers.items()}, body, NOW)
    github.verify(received, ["s3cret"])
    assert received.headers["x-github-event"] == name.split(".")[0]
    assert github.identify(received).key == "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    assert github.normalise(received) == read(name)


# -- state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "conclusion", "ours", "description"),
    [
        ("requested", None, Status.QUEUED, None),
        ("queued", None, Status.QUEUED, None),
        ("pending", None, Status.QUEUED, None),
        ("waiting", None, Status.WAITING, None),
        ("in_progress", None, Status.RUNNING, None),
        ("in_progress", "failure", Status.RUNNING, None),
        ("completed", "success", Status.SUCCESS, None),
        ("completed", "neutral", Status.SUCCESS, "neutral"),
        ("completed", "failure", Status.FAILURE, None),
        ("completed", "cancelled", Status.CANCELLED, None),
        ("completed", "stale", Status.CANCELLED, "stale"),
        ("completed", "timed_out", Status.TIMEOUT, None),
        ("completed", "skipped", Status.SKIPPED, None),
        ("completed", "action_required", Status.WAITING, "action required"),
        ("completed", "startup_failure", Status.ERROR, "startup failure"),
        ("completed", "brand_new", Status.UNKNOWN, "brand new"),
        ("completed", None, Status.UNKNOWN, None),
        ("paused", None, Status.UNKNOWN, "paused"),
        (None, "success", Status.SUCCESS, None),
        (None, None, Status.UNKNOWN, None),
    ],
)
def test_status_and_conclusion_become_our_words(
    status: str | None, conclusion: str | None, ours: Status, description: str | None
) -> None:
    def change(body: Any) -> None:
        body["workflow_run"] |= {"status": status, "conclusion": conclusion}

    event = event_of("workflow_run.push_failed", change)
    assert (event.status, event.description) == (ours, description)
    assert (event.finished_at is not None) is ours.finished


@pytest.mark.parametrize("name", ["workflow_run.push_failed", "workflow_job.failed_step", "check_run.failed"])
@pytest.mark.parametrize("action", ["requested", "in_progress", "completed", "whatever", None])
def test_the_state_never_comes_from_the_action(name: str, action: str | None) -> None:
    assert event_of(name, lambda body: body.update(action=action)) == event_of(name)


@pytest.mark.parametrize(
    ("state", "description", "ours"),
    [
        ("pending", None, Status.RUNNING),
        ("success", "cancelled two others", Status.SUCCESS),
        ("failure", None, Status.FAILURE),
        ("error", "lost the runner", Status.ERROR),
        ("failure", "Build #3 canceled by Mona", Status.CANCELLED),
        ("error", "Cancelled", Status.CANCELLED),
        ("failure", "2 failed, 1 cancelled", Status.FAILURE),
        ("failure", "uncancelledness", Status.FAILURE),
        ("odd", None, Status.UNKNOWN),
    ],
)
def test_a_commit_status_is_cancelled_only_when_its_description_says_so(
    state: str, description: str | None, ours: Status
) -> None:
    change = {"state": state, "description": description}
    assert event_of("status.failed", lambda body: body.update(change)).status is ours


@pytest.mark.parametrize("state", ["waiting", "queued", "pending", "in_progress", "success", "failure", "error", "odd"])
def test_a_deployment_has_the_status_of_its_newest_state(state: str) -> None:
    event = event_of("deployment_status.success", lambda body: body["deployment_status"].update(state=state))
    assert event.status is github.STATUS.get(state, Status.UNKNOWN)
    assert event.run is not None
    assert event.run.id == "610"


def test_a_second_attempt_replaces_the_first() -> None:
    first, second = event_of("workflow_run.push_failed"), event_of("workflow_run.second_attempt")
    run = fold_run(second, fold_run(first, None).run).run
    assert run is not None
    assert (run.attempt, run.status) == (2, Status.SUCCESS)


def test_a_job_belongs_to_the_run_that_workflow_run_tells_of() -> None:
    run = fold_run(event_of("workflow_job.failed_step"), fold_run(event_of("workflow_run.tag"), None).run).run
    assert run is not None
    job, whole = event_of("workflow_job.failed_step"), event_of("workflow_run.push_failed")
    assert job.run is not None
    assert whole.run is not None
    assert (job.run.id, job.run.url, job.pipeline) == (whole.run.id, whole.run.url, whole.pipeline)


def test_a_check_run_belongs_to_its_suite() -> None:
    check, suite = event_of("check_run.failed"), event_of("check_suite.timed_out")
    assert check.run == suite.run
    assert check.pipeline == suite.pipeline


def test_a_check_without_an_app_is_a_third_partys() -> None:
    assert event_of("check_suite.of_actions", lambda body: body["check_suite"].pop("app")).pipeline == "checks"


def test_a_deployment_and_its_states_are_one_run() -> None:
    made, done = event_of("deployment.created"), event_of("deployment_status.success")
    run = fold_run(done, fold_run(made, None).run).run
    assert run is not None
    assert (run.status, run.version) == (Status.SUCCESS, 2)


def test_only_the_pending_commit_status_knows_when_the_run_began() -> None:
    assert event_of("status.pending").started_at == datetime(2026, 3, 2, 8, 0, 30, tzinfo=UTC)
    assert event_of("status.failed").started_at is None


# -- refs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trigger", "path", "branch", "tag"),
    [
        ("main", "push", None, "main", None),
        ("v1.4.0", "push", None, None, "v1.4.0"),
        ("1.4.0-rc.1", "push", None, None, "1.4.0-rc.1"),
        ("v1.4", "push", None, "v1.4", None),
        ("1.4.x", "push", None, "1.4.x", None),
        ("release/1.4.0", "push", None, "release/1.4.0", None),
        ("v1.4.0", "pull_request", None, "v1.4.0", None),
        ("nightly", "release", None, None, "nightly"),
        ("nightly", "push", ".github/workflows/ci.yml@refs/tags/nightly", None, "nightly"),
        ("main", "push", ".github/workflows/ci.yml@refs/heads/main", "main", None),
        (None, "push", None, None, None),
    ],
)
def test_a_name_is_a_tag_by_trigger_path_or_form(
    name: str | None, trigger: str, path: str | None, branch: str | None, tag: str | None
) -> None:
    change = {"head_branch": name, "event": trigger, "path": path}
    event = event_of("workflow_run.push_failed", lambda body: body["workflow_run"].update(change))
    assert (event.branch, event.tag) == (branch, tag)


@pytest.mark.parametrize(
    ("ref", "branch", "tag"),
    [
        ("main", "main", None),
        ("refs/heads/main", "main", None),
        ("refs/tags/nightly", None, "nightly"),
        ("v2.0.0", None, "v2.0.0"),
        ("4f1d2c3b5a69788796a5b4c3d2e1f00112233445", None, None),
        ("refs/pull/7/merge", None, None),
    ],
)
def test_a_deployment_is_of_a_branch_a_tag_or_a_bare_commit(ref: str, branch: str | None, tag: str | None) -> None:
    event = event_of("deployment_status.success", lambda body: body["deployment"].update(ref=ref))
    assert (event.branch, event.tag) == (branch, tag)


def test_a_job_on_a_version_is_on_a_tag() -> None:
    assert event_of("workflow_job.failed_step", lambda body: body["workflow_job"].update(head_branch="v1.4.0")).tag


@pytest.mark.parametrize(
    ("branches", "branch"),
    [([], None), (["parcels"], "parcels"), (["parcels", "main"], "main"), (["parcels", "other"], "parcels")],
)
def test_a_commit_status_is_on_the_default_branch_else_on_the_first(branches: list[str], branch: str | None) -> None:
    named = [{"name": name} for name in branches]
    assert event_of("status.failed", lambda body: body.update(branches=named)).branch == branch


def test_a_pull_request_into_another_repository_is_not_ours() -> None:
    event = event_of("workflow_run.pull_request", lambda body: body["workflow_run"]["pull_requests"].pop())
    assert event.pull_request is None


@pytest.mark.parametrize(
    ("trigger", "number"),
    [("push", None), ("schedule", None), ("workflow_dispatch", None), ("pull_request", 7), ("pull_request_target", 7)],
)
def test_a_push_stays_on_its_branch_even_while_a_pull_request_is_open(trigger: str, number: int | None) -> None:
    event = event_of("workflow_run.push_failed", lambda body: body["workflow_run"].update(event=trigger))
    assert event.pull_request == number


def test_the_run_of_a_deleted_fork_is_neither_of_a_fork_nor_of_none() -> None:
    change = {"head_repository": None}
    assert event_of("workflow_run.pull_request", lambda body: body["workflow_run"].update(change)).fork is None


@pytest.mark.parametrize(
    ("flags", "action"),
    [
        ({}, "pushed"),
        ({"created": True}, "created"),
        ({"forced": True}, "forced"),
        ({"deleted": True, "forced": True}, "deleted"),
    ],
)
def test_a_push_says_what_it_did_to_the_ref(flags: dict[str, bool], action: str) -> None:
    assert event_of("push.branch", lambda body: body.update(flags)).action == action


# -- people and words --------------------------------------------------------------------------------------------------


def test_the_author_is_who_began_the_run_not_who_ran_it_again() -> None:
    event = event_of("workflow_run.second_attempt")
    assert event.author == "octocat"
    assert ("re-run by", "mona") in event.facts


def test_without_a_login_the_commits_author_is_named() -> None:
    def change(body: Any) -> None:
        body["sender"] = None
        body["workflow_run"] |= {"actor": None, "triggering_actor": None}

    assert event_of("workflow_run.push_failed", change).author == "Octo Cat"


@pytest.mark.parametrize(("trigger", "title"), [("push", "Count parcels twice"), ("pull_request", "Shown")])
def test_a_pull_request_has_its_own_title_and_a_push_that_of_its_commit(trigger: str, title: str) -> None:
    change = {"event": trigger, "display_title": "Shown"}
    assert event_of("workflow_run.push_failed", lambda body: body["workflow_run"].update(change)).title == title


def test_the_pipeline_is_the_workflow_else_the_run_else_the_file() -> None:
    assert event_of("workflow_run.push_failed", lambda body: body.update(workflow=None)).pipeline == "CI"

    def change(body: Any) -> None:
        body["workflow"] = {"name": ""}
        body["workflow_run"] |= {"name": "", "path": ".github/workflows/ci.yml@refs/heads/main"}

    assert event_of("workflow_run.push_failed", change).pipeline == ".github/workflows/ci.yml"


def test_a_queued_job_has_not_started() -> None:
    change = {"status": "queued", "conclusion": None, "completed_at": None}
    task = event_of("workflow_job.failed_step", lambda body: body["workflow_job"].update(change)).task
    assert task is not None
    assert (task.started_at, task.duration) == (None, None)


def test_a_job_that_ends_before_it_starts_took_no_time() -> None:
    change = {"conclusion": "skipped", "completed_at": "2026-03-02T08:00:00Z"}
    task = event_of("workflow_job.failed_step", lambda body: body["workflow_job"].update(change)).task
    assert task is not None
    assert task.duration is None


@pytest.mark.parametrize(
    ("action", "spoken"),
    [
        *((action, True) for action in ("opened", "closed", "reopened", "ready_for_review", "converted_to_draft")),
        *((action, False) for action in ("edited", "assigned", "unlabeled", "review_requested", None)),
    ],
)
def test_only_the_turns_of_a_pull_request_are_told(action: str | None, spoken: bool) -> None:
    body = json.loads(BODIES["pull_request.labeled"].read_bytes()) | {"action": action}
    out = github.normalise(inbound("pull_request", json.dumps(body).encode()))
    assert isinstance(out, Event if spoken else Ignored)


@pytest.mark.parametrize("action", ["created", "released", "prereleased", "edited", "deleted", "unpublished", None])
def test_a_release_speaks_once_when_it_is_published(action: str | None) -> None:
    body = json.loads(BODIES["release.published"].read_bytes()) | {"action": action}
    assert isinstance(github.normalise(inbound("release", json.dumps(body).encode())), Ignored)


@pytest.mark.parametrize("moment", ["yesterday", "", "0001-01-01T00:00:00+14:00", 10**15, -(10**15)])
def test_an_odd_time_costs_the_time_and_not_the_event(moment: object) -> None:
    change = {"updated_at": moment}
    assert event_of("workflow_run.push_failed", lambda body: body["workflow_run"].update(change)).changed_at is None


def test_a_time_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    change = {"updated_at": "2026-03-02 08:02:14"}
    event = event_of("workflow_run.push_failed", lambda body: body["workflow_run"].update(change))
    monkeypatch.undo()
    time.tzset()
    assert event.changed_at == datetime(2026, 3, 2, 8, 2, 14, tzinfo=UTC)


def test_an_address_that_is_no_web_page_is_not_shown() -> None:
    event = event_of("status.failed", lambda body: body.update(target_url="javascript:alert(1)"))
    assert event.url == "https://github.com/acme/app/commit/4f1d2c3b5a69788796a5b4c3d2e1f00112233445"


# -- who sent it -------------------------------------------------------------------------------------------------------

BODY = BODIES["workflow_run.push_failed"].read_bytes()
GOOD = github.sign(BODY, "new", delivery="d")["X-Hub-Signature-256"]


def signed(signature: str | None, body: bytes = BODY) -> Inbound:
    return Inbound("github", {} if signature is None else {"x-hub-signature-256": signature}, body, NOW)


@pytest.mark.parametrize("secrets", [["new"], ["new", "old"], ["old", "new"], ["", "new"]])
def test_any_of_the_secrets_may_have_signed(secrets: list[str]) -> None:
    github.verify(signed(GOOD), secrets)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "sha256",
        GOOD.removeprefix("sha256="),
        GOOD[:-1],
        GOOD + "0",
        GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"),
        "sha1=" + GOOD.removeprefix("sha256="),
        "SHA256=" + GOOD.removeprefix("sha256="),
        "sha256=" + "é" * 64,
        "sha256=\udcff\udc80",
        "sha256=" + "\x00" * 64,
        "sha256=" + "a" * 100_000,
    ],
)
def test_a_missing_empty_or_wrong_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(Unauthorized):
        github.verify(signed(signature), ["new"])


@pytest.mark.parametrize("secrets", [[], [""], ["old"]])
def test_a_secret_that_is_not_configured_signs_nothing(secrets: list[str]) -> None:
    with pytest.raises(Unauthorized):
        github.verify(signed(GOOD), secrets)


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(Unauthorized):
        github.verify(signed(github.sign(BODY, "", delivery="d")["X-Hub-Signature-256"]), [""])


def test_a_flipped_byte_is_refused() -> None:
    for place in (0, len(BODY) // 2, len(BODY) - 1):
        body = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        with pytest.raises(Unauthorized):
            github.verify(signed(GOOD, body), ["new"])


def test_the_sha1_signature_alone_is_not_enough() -> None:
    old = {"x-hub-signature": "sha1=" + "0" * 40, "x-hub-signature-1": GOOD}
    with pytest.raises(Unauthorized):
        github.verify(Inbound("github", old, BODY, NOW), ["new"])


def test_a_form_is_signed_as_it_was_sent() -> None:
    form = urlencode({"payload": BODY.decode()}).encode()
    github.verify(signed(github.sign(form, "new", delivery="d")["X-Hub-Signature-256"], form), ["new"])
    with pytest.raises(Unauthorized):
        github.verify(signed(GOOD, form), ["new"])


@needs_shared
def test_published_signature_vectors() -> None:
    vectors = json.loads((SHARED / "reference/signature-vectors.json").read_bytes())
    mine = [vector for vector in vectors if vector["source"] == "github"]
    assert mine
    for vector in mine:
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        request = Inbound("github", headers, vector["body"].encode(), NOW)
        if vector["valid"]:
            github.verify(request, [vector["secret"]])
        else:
            with pytest.raises(Unauthorized):
                github.verify(request, [vector["secret"]])


# -- the same as which -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", ["", " ", "a b", "é", "x" * 201, "line\nbreak", "\udcff"])
def test_without_a_sane_delivery_id_the_body_identifies(delivery: str) -> None:
    identity = github.identify(inbound("push", b"{}", x_github_delivery=delivery))
    assert identity.key == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert identity == github.identify(inbound("push", b"{}"))


def test_a_delivery_is_its_id_and_never_news_twice() -> None:
    identity = github.identify(inbound("push", b"{}", x_github_delivery="72d3162e"))
    assert (identity.key, identity.repeatable) == ("72d3162e", False)
    assert identity == github.identify(inbound("push", b"[]", x_github_delivery="72d3162e"))


# -- forms and odd requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("a=1&", "&payload=%7B%7D"), ("&&notpayload=1&", "&=")])
def test_a_form_says_what_its_json_says(name: str, before: str, after: str) -> None:
    body = f"{before}payload={quote_plus(BODIES[name].read_text(encoding='utf-8'))}{after}".encode()
    assert github.normalise(inbound(name.split(".")[0], body, f"{FORM}; charset=utf-8")) == read(name)


@given(st.dictionaries(st.text(), st.text()))
def test_undoing_a_forms_escapes_gives_the_json_back(value: dict[str, str]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    assert form_field(b"payload=" + quote_plus(text).encode(), "payload") == text


def test_an_equals_sign_in_a_payload_is_no_escape() -> None:
    assert form_field(b'payload={"a":"=41"}', "payload") == b'{"a":"=41"}'


@pytest.mark.parametrize(
    "body", [b"", b"payload", b"payload=", b"payload=%7B", b"a=1&b=2", b"payload=%", b"payload=%ZZ", b"{}", b"=&=&="]
)
def test_a_form_without_a_readable_payload_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        github.normalise(inbound("push", body, FORM))


@pytest.mark.parametrize("piece", [b"&", b"a=1&", b"%41", b"payload=&", b"&payload", b"+", b"=", b"%"])
@pytest.mark.parametrize("start", [b"", b"payload="])
def test_a_form_bomb_is_cheap(start: bytes, piece: bytes) -> None:
    body = start + piece * (25_000_000 // len(piece))
    begun = time.process_time()
    with pytest.raises(Unreadable):
        github.normalise(inbound("push", body, FORM))
    assert time.process_time() - begun < 1.5


def test_a_saved_form_without_headers_is_known_by_its_beginning() -> None:
    body = urlencode({"payload": BODIES["push.branch"].read_text(encoding="utf-8")}).encode()
    assert github.normalise(inbound("push", body, None)) == read("push.branch")


@pytest.mark.parametrize("event", [None, "", " ", "\x00"])
def test_a_request_without_an_event_is_ignored_with_a_reason(event: str | None) -> None:
    out = github.normalise(inbound(event, BODY))
    assert isinstance(out, Ignored)
    assert "X-GitHub-Event" in out.reason


@pytest.mark.parametrize("event", ["star", "deployment_review", "Push", "x" * 10_000, "\udcff", "a\nb"])
def test_an_event_that_we_do_not_know_is_ignored_with_its_name(event: str) -> None:
    out = github.normalise(inbound(event, b"not even JSON"))
    assert isinstance(out, Ignored)
    assert out.reason.endswith(": bridge has nothing to say about it")
    assert len(out.reason) < 120


def test_what_is_no_json_is_sent_so_that_it_shows_as_unreadable() -> None:
    headers = {name.lower(): value for name, value in github.sign(b"{", "s", delivery="d").items()}
    with pytest.raises(Unreadable):
        github.normalise(Inbound("github", headers, b"{", NOW))


# -- hostile bodies ----------------------------------------------------------------------------------------------------

WRONG: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", "9" * 5000, [], [None], ["x"], {}, {"id": {}}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def put(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of `body` with `value` at `path`."""
    changed = copy.copy(body)
    changed[path[0]] = value if len(path) == 1 else put(body[path[0]], path[1:], value)
    return changed


def survives(event: str, body: bytes) -> Event | Ignored | None:
    """Normalise; nothing but IngestError may leave, and an event can be stored."""
    try:
        out = github.normalise(inbound(event, body))
    except IngestError:
        return None
    if isinstance(out, Event):
        assert dump(out)
        assert fold_run(out, None)
    return out


@pytest.mark.parametrize("name", BODIES)
def test_a_wrong_type_in_any_field_raises_nothing_but_ingest_errors(name: str) -> None:
    body = json.loads(BODIES[name].read_bytes())
    for path in places(body):
        for value in WRONG:
            survives(name.split(".")[0], json.dumps(put(body, path, value)).encode())


@pytest.mark.parametrize("name", BODIES)
def test_a_null_anywhere_but_in_what_names_the_thing_costs_only_that_field(name: str) -> None:
    named = {"id", "run_id", "number", "repository", "sha", "context", "state", "ref", "before", "after"}
    objects = set(EVENTS)
    body = json.loads(BODIES[name].read_bytes())
    for path in places(body):
        if isinstance(path[-1], str) and path[-1] not in named | objects:
            assert survives(name.split(".")[0], json.dumps(put(body, path, None)).encode()) is not None, path


@pytest.mark.parametrize("name", [name for name in BODIES if isinstance(read(name), Event)])
def test_foreign_text_stays_one_line_where_one_line_is_meant(name: str) -> None:
    foreign = "a\x00\x1b[2J\u2028b\r\nc" + "d" * 9000
    body = json.loads(BODIES[name].read_bytes())
    for path in places(body):
        out = survives(name.split(".")[0], json.dumps(put(body, path, foreign)).encode())
        if not isinstance(out, Event):
            continue
        lines = [out.repository, out.branch, out.tag, out.title, out.author, out.author_name, out.author_email]
        lines += [out.pipeline, out.environment, out.sha, out.url, out.task and out.task.name, *out.labels]
        lines += [out.task and out.task.step, out.task and out.task.note, out.trigger, *(text for _, text in out.facts)]
        for line in filter(None, lines):
            assert len(line.splitlines()) == 1
            assert "\x1b" not in line
            assert len(line) <= 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([name for name in BODIES if not name.startswith(("ping", "create"))]), st.data())
def test_any_json_in_any_field_raises_nothing_but_ingest_errors(name: str, data: st.DataObject) -> None:
    body = json.loads(BODIES[name].read_bytes())
    path = data.draw(st.sampled_from(list(places(body))))
    survives(name.split(".")[0], json.dumps(put(body, path, data.draw(JSON))).encode())


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["x-github-event", "x-github-delivery", "content-type"]), st.text()),
    st.sampled_from([*EVENTS, None]),
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_request_raises_nothing_but_ingest_errors(headers: dict[str, str], event: str | None, body: bytes) -> None:
    request = Inbound("github", headers | ({"x-github-event": event} if event else {}), body, NOW)
    assert github.identify(request).key
    assert github.sign(body, "s", delivery="d")
    try:
        github.normalise(request)
    except IngestError:
        pass


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"repository":' * 1_000, b"\xff\xfe{}", b"nul", b'{"a":"\\ud800"}']
)
def test_deep_or_broken_json_is_unreadable(event: str, body: bytes) -> None:
    assert survives(event, body) is None or event in ("ping", "create")


def test_what_is_wrong_is_said_without_the_bodys_words() -> None:
    body = json.loads(BODY)
    body["workflow_run"]["id"] = "hunter2"
    with pytest.raises(Unreadable) as caught:
        github.normalise(inbound("workflow_run", json.dumps(body).encode()))
    assert "workflow_run.id" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# -- bodies that GitHub really sent ------------------------------------------------------------------------------------

# Where the body holds what the event must say: dotted paths, alternatives after |.
SAYS = {
    "workflow_run": {
        "sha": "workflow_run.head_sha",
        "branch": "workflow_run.head_branch",
        "author": "workflow_run.actor.login|sender.login",
        "url": "workflow_run.html_url",
    },
    "workflow_job": {
        "sha": "workflow_job.head_sha",
        "branch": "workflow_job.head_branch",
        "author": "sender.login",
        "url": "workflow_job.html_url",
    },
    "check_suite": {
        "sha": "check_suite.head_sha",
        "branch": "check_suite.head_branch",
        "author": "check_suite.head_commit.author.username|check_suite.head_commit.author.name",
    },
    "check_run": {
        "sha": "check_run.head_sha",
        "branch": "check_run.check_suite.head_branch",
        "author": "sender.login",
        "url": "check_run.html_url|check_run.details_url",
    },
    "status": {
        "sha": "sha",
        "branch": "repository.default_branch",
        "author": "commit.author.login|commit.commit.author.name",
        "url": "target_url|commit.html_url",
    },
    "deployment": {"sha": "deployment.sha", "branch": "deployment.ref", "author": "deployment.creator.login"},
    "deployment_status": {"sha": "deployment.sha", "branch": "deployment.ref", "author": "deployment.creator.login"},
    "push": {"sha": "before", "author": "pusher.name", "url": "repository.html_url"},
    "pull_request": {
        "sha": "pull_request.head.sha",
        "branch": "pull_request.head.ref",
        "author": "pull_request.user.login",
        "url": "pull_request.html_url",
    },
    "release": {"tag": "release.tag_name", "author": "release.author.login", "url": "release.html_url"},
}

# What each file says: status and pull request of an event, or a word of the reason why there is none.
REAL: dict[str, tuple[str, int | None] | str] = {
    "check_run.completed.1.json": "GitHub Actions",
    "check_run.completed.json": ("success", 2),
    "check_run.created.json": ("queued", 2),
    "check_run.created.with-organization.json": ("queued", 2),
    "check_run.requested_action.json": ("running", 26764),
    "check_run.rerequested.json": ("success", None),
    "check_run.scm-check_run.json": ("success", 2),
    "check_suite.completed.1.json": "GitHub Actions",
    "check_suite.gp-check-suite.json": ("success", None),
    "check_suite.hub4j-check-suite.json": ("success", 2),
    "check_suite.requested.odd-email.json": ("queued", None),
    "check_suite.rerequested.json": ("success", 2),
    "create.json": "create",
    "deployment.json": ("queued", None),
    "deployment_review.requested.json": "deployment_review",
    "deployment_status.hub4j-deployment_status.json": ("success", None),
    "merge_group.checks_requested.json": "merge_group",
    "ping.gp-ping.json": "set up",
    "ping.json": "set up",
    "ping.with-app_id.json": "set up",
    "ping.with-organization.json": "set up",
    "pull_request.closed.json": ("unknown", 2),
    "pull_request.labeled.json": ("unknown", 2),
    "pull_request.opened.json": ("unknown", 2),
    "pull_request.reopened.json": ("unknown", 2),
    "push.1.json": ("unknown", None),
    "push.json": ("unknown", None),
    "push.with-organization.json": ("unknown", None),
    "release.created.json": "release created",
    "release.deleted.json": "release deleted",
    "release.edited.json": "release edited",
    "release.hub4j-release_published.json": ("unknown", None),
    "release.published.json": ("unknown", None),
    "release.released.json": "release released",
    "release.scm-release_published.json": ("unknown", None),
    "status.hub4j-status.json": ("success", None),
    "status.with-author-committer-null.json": ("success", None),
    "status.with-installation.json": ("success", None),
    "workflow_dispatch.json": "workflow_dispatch",
    "workflow_job.completed.failure.with-organization.json": ("failure", None),
    "workflow_job.completed.success.with-organization.json": ("success", None),
    "workflow_job.hub4j-workflow_job.json": ("failure", None),
    "workflow_job.in_progress.json": ("running", None),
    "workflow_job.in_progress.with-queued-steps.json": ("running", None),
    "workflow_job.queued.json": ("queued", None),
    "workflow_job.queued.with-deployment.json": ("waiting", None),
    "workflow_job.waiting.json": ("waiting", None),
    "workflow_run.completed.json": ("success", None),
    "workflow_run.completed.with-pull-requests.json": ("success", None),  # the pull request goes to another repository
    "workflow_run.hub4j-workflow_run.json": ("success", None),
    "workflow_run.hub4j-workflow_run_other_repository.json": ("success", None),
    "workflow_run.scm-pipeline_hook.json": ("success", 164),
}


def at(body: Any, paths: str) -> Any:
    """Return the first value that is there at one of `paths`."""
    for path in paths.split("|"):
        value = body
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value:
            return value
    return None


@needs_shared
@pytest.mark.parametrize("file", REAL)
def test_a_real_body_gives_the_event_that_it_tells(file: str) -> None:
    kind, expected = file.split(".")[0], REAL[file]
    text = (SHARED / "fixtures/github" / file).read_bytes()
    body = json.loads(text)
    out = github.normalise(inbound(kind, text))
    assert github.sign(text, "s", delivery="d")["X-GitHub-Event"] == kind
    if isinstance(expected, str):
        assert isinstance(out, Ignored)
        assert expected in out.reason
        return
    assert isinstance(out, Event)
    assert (str(out.status), out.pull_request) == expected
    owner, name = at(body, "repository.owner.login"), at(body, "repository.name")
    full_name = at(body, "repository.full_name") or f"{owner}/{name}"
    assert (out.repository, out.repository_url) == (full_name, at(body, "repository.html_url"))
    assert {field: getattr(out, field) for field in SAYS[kind]} == {
        field: at(body, paths) for field, paths in SAYS[kind].items()
    }
    if out.kind in (Kind.PIPELINE, Kind.TASK, Kind.DEPLOYMENT):
        assert out.url
        assert out.changed_at
        assert out.run


@needs_shared
def test_every_real_body_is_in_the_table() -> None:
    assert {path.name for path in (SHARED / "fixtures/github").glob("*.json")} == set(REAL)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_explains_every_word_and_every_event() -> None:
    page = (Path(__file__).parents[2] / "docs/sources/github.md").read_text(encoding="utf-8")
    missing = [word for word in (*github.STATUS, *github._READERS, "inactive") if f"`{word}`" not in page]
    assert not missing
    assert "{url}" in github.SETUP
