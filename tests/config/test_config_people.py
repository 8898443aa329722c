"""`people`, `people_from` and `groups`: who is who, and who is notified."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.config import config_group
from bridge.config import load, watched_paths
from bridge.config.people import people
from bridge.config.report import Report
from bridge.errors import ConfigError
from bridge.event import Event, Kind
from bridge.whom import ids, whom
from tests.config.conftest import ENVIRON, HEAD

MONA = "mona: {slack: U0MONALISA, email: [mona@example.com, Mona@Example.org], also: [Octo-Cat, Mona Lisa]}"
TEXT = HEAD.replace("{octocat: {slack: U024BE7LH}}", f"\n  {MONA}\n  hubot: {{slack: U0G9QF9C6, mention: false}}")
TABLE = """\
Name,slack,email,also,mention

dee,U0DEE0001,dee@example.com; d@example.org,"Dee, D.",
eve,U0EVE0001,,,False
"""


def an_event(**said: str) -> Event:
    return Event(source="github", type="github", kind=Kind.PIPELINE, **said)


@pytest.mark.parametrize(
    "said",
    [
        {"author": "MONA"},
        {"author": "octo-cat"},
        {"author": "x", "author_name": "mona lisa"},
        {"author": "x", "author_email": "mona@example.ORG"},
        {"author": "x", "author_email": "mona@example.com"},
    ],
)
def test_an_author_is_found_by_every_name_in_any_case(loading, said):
    known = loading(TEXT).directory
    assert ids(whom(("author",), an_event(**said), known, "slack")) == ("U0MONALISA",)


def test_the_first_address_is_the_one_for_mail(loading):
    assert ids(whom(("mona",), an_event(), loading(TEXT).directory, "email")) == ("mona@example.com",)


def test_who_wants_no_mention_is_notified_by_no_rule(loading):
    known = loading(TEXT).directory
    assert ids(whom(("hubot", "author"), an_event(author="hubot"), known, "slack")) == ()


def test_who_wants_no_mention_needs_no_id(lines):
    text = TEXT.replace("slack: U0G9QF9C6, mention", "mention") + "    mention: hubot\n"
    text = text.replace("- {name: all, to: [team, bot]}", "- name: all\n    to: [team, bot]")
    assert lines(text) == []


def test_a_group_is_its_members_each_once(loading):
    text = f"{TEXT}  - {{name: g, to: bot, mention: [crew, mona, author]}}\ngroups: {{crew: [mona, hubot, mona]}}\n"
    (goal,) = loading(text).rules[1].to
    assert goal.mention == ("mona", "hubot", "author")


def test_nobody_is_named_twice_in_a_message(loading):
    known = loading(TEXT).directory
    assert ids(whom(("mona", "author"), an_event(author="Octo-Cat"), known, "slack")) == ("U0MONALISA",)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("groups: {crew: [moan]}", "groups.crew.0: nobody named 'moan' under `people`, did you mean 'mona'?"),
        ("groups: {mona: [hubot]}", "groups.mona: 'mona' is somebody already, choose another name for the group"),
        ("groups: {crew: []}", "groups.crew: the list is empty"),
        (
            "  - {name: g, to: bot, mention: crwe}\ngroups: {crew: [mona]}",
            "named 'crwe' under `people`, did you mean 'crew'",
        ),
        ("people_from: gone.csv", "people_from: there is no file 'gone.csv' beside the configuration"),
    ],
)
def test_names_that_lead_nowhere_are_told(lines, more, told):
    (line,) = lines(f"{TEXT}{more}\n")
    assert told in line


# -- the words that are nobody's name

ROLES = ("author", "committer", "pusher", "reviewers", "owners")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_can_be_mentioned_and_is_nobodys_name(lines, role):
    ours = TEXT.replace("secret:", "api_token: t0ken-value, secret:")
    told = lines(f"{ours}  - {{name: g, to: bot, mention: {role}}}\n")
    assert [line for line in told if "people" in line or "source" in line] == []
    (line,) = lines(TEXT.replace("hubot:", f"{role}:"))
    assert f"people.{role}: '{role}' is whoever has that part in the change" in line
    (line,) = lines(f"{TEXT}groups: {{{role}: [mona]}}\n")
    assert f"groups.{role}: '{role}' is somebody already" in line


@pytest.mark.parametrize(
    ("source", "role", "told"),
    [
        ("{type: github, secret: s3cret-value}", "owners", "'owners' needs `api_token` at source 'github'"),
        ("{type: github, secret: s3cret-value}", "reviewers", "'reviewers' needs `api_token` at source 'github'"),
        ("{type: cirrus, secret: s3cret-value}", "owners", "'github' does not tell owners, so nobody is notified"),
        ("{type: gitlab, secret: s3cret-value}", "committer", "'github' does not tell committer"),
        ("{type: github, secret: s3cret-value}", "committer", ""),
        ("{type: gitlab, secret: s3cret-value}", "pusher", ""),
        ("{type: gitea, secret: s3cret-value}", "reviewers", ""),
        ("{type: alertmanager, token: s3cret-value}", "author", ""),
    ],
)
def test_a_role_that_no_source_of_the_rule_tells_is_warned_about(lines, source, role, told):
    text = TEXT.replace('{type: github, secret: "${SECRET}"}', source)
    found = [line for line in lines(f"{text}  - {{name: g, to: bot, mention: [mona, {role}]}}\n") if ".mention" in line]
    assert [told in line and "rules.1.mention: warning" in line for line in found] == ([True] if told else [])


def test_a_role_is_asked_of_the_sources_that_the_rule_hears(lines):
    text = TEXT.replace("sources: {", "sources: {ci: {type: cirrus, secret: s3cret-value}, ")
    rule = "  - {name: g, match: {source: ci}, to: [{destination: bot, mention: committer}]}\n"
    told = [line for line in lines(text + rule) if ".mention" in line]
    assert told[0].split(": ", 1)[1].startswith("rules.1.to.0.mention: warning: 'ci' does not tell committer")
    assert [line for line in lines(text + rule.replace("ci}", "github}")) if ".mention" in line] == []


def test_a_pull_request_s_own_webhook_tells_who_reviews_it(lines):
    rule = "  - {name: g, match: {kind: KIND}, to: bot, mention: reviewers, mention_when: always}\n"
    warned = [
        any("'reviewers' needs" in line for line in lines(TEXT + rule.replace("KIND", kind)))
        for kind in ("change_request", "pipeline")
    ]
    assert warned == [False, True]


def test_who_can_be_found_by_e_mail_needs_no_id(lines):
    text = TEXT.replace("mona: {slack: U0MONALISA,", "mona: {").replace("{slack: U0MONALISA, ", "{")
    rule = "  - {name: g, to: bot, mention: mona}\n"
    assert any("'mona' has no slack id" in line for line in lines(text + rule))
    asking = text.replace('channel: "#builds"', 'channel: "#builds", find_people: true')
    assert not any("no slack id" in line for line in lines(asking + rule))


def test_a_webhook_finds_nobody(lines):
    (line,) = lines(TEXT.replace('url: "${URL}"', 'url: "${URL}", find_people: true'))
    assert "a webhook cannot be asked who people are" in line


def test_a_group_is_found_by_the_name_of_a_team(loading):
    known = loading(f"{TEXT}groups: {{'@acme/API': [mona, hubot], docs: [mona]}}\n").directory
    assert [person.name for person in known.team("acme/api")] == ["mona", "hubot"]
    assert [person.name for person in known.team("@acme/docs")] == ["mona"]
    assert known.team("acme/none") == ()


def test_two_people_with_one_name_are_warned_about(lines):
    (line,) = lines(TEXT.replace("mention: false", "also: MONA LISA"))
    assert line.startswith("config.yaml:6:3: people.hubot: warning: 'mona lisa' is 'mona' already")


def test_a_table_has_a_person_in_each_row(loading, folder):
    (folder / "people.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())
    known = loading(f"{TEXT}people_from: people.csv\n").people
    assert list(known) == ["mona", "hubot", "dee", "eve"]
    assert known["dee"].ids == {"slack": "U0DEE0001", "email": "dee@example.com"}
    assert known["dee"].also == ("d@example.org", "Dee, D.")
    assert (known["dee"].mention, known["eve"].mention) == (True, False)


def test_a_file_of_yaml_looks_like_people(loading, folder):
    (folder / "more.yaml").write_text("dee: {slack: U0DEE0001}\n")
    assert loading(f"{TEXT}people_from: [more.yaml]\n").people["dee"].ids == {"slack": "U0DEE0001"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1:1: the first row names the columns: `name`, `slack`, `email` and so on"),
        ("slack\nU0DEE0001\n", "1:1: the first row names the columns: `name`, `slack`, `email` and so on"),
        ("name,slack,Slack\n", "1:1: two columns have the same name, remove one"),
        ("name,slak\ndee,U0DEE0001\n", "2:1: people.dee.slak: unknown key, did you mean 'slack'?"),
        ("name,slack\n\ndee,@dee\n", "3:1: people.dee.slack: '@dee' is no Slack ID"),
        ("name,slack\n,U0DEE0001\n", "2:1: people: this row has no `name`"),
        ("name\ndee\ndee\n", "3:1: people.dee: this name stands in an earlier row"),
        ("name\nmona\n", "2:1: people.mona: there is a 'mona' already"),
        ('name\n"dee\n', "2:1: this row is no CSV"),
        ("name,mention\ndee,maybe\n", "2:1: people.dee.mention: write true or false"),
    ],
)
def test_a_problem_of_a_table_is_told_at_its_row(lines, folder, text, told):
    (folder / "people.csv").write_text(text)
    (line,) = lines(f"{TEXT}people_from: people.csv\n")
    assert line.startswith(f"people.csv:{told}")


@given(st.binary(max_size=80) | st.text('name,;"\r\n\0 $', max_size=40).map(lambda text: f"name\n{text}".encode()))
def test_any_bytes_are_a_table_or_a_problem(data):
    told = "people.csv: "
    try:
        people(data, Report("people.csv"))
    except ConfigError as error:
        told = str(error)
    assert told.startswith("people.csv:")


def test_pack_takes_people_along_and_a_reload_watches_them(loading, folder, monkeypatch):
    (folder / "people.csv").write_text(TABLE)
    whole = loading(f"{TEXT}people_from: people.csv\n").people
    assert folder.joinpath("people.csv").samefile(watched_paths(None, ENVIRON)[-1])
    for name in ("BRIDGE_CONFIG", "BRIDGE_CONFIG_YAML"):
        monkeypatch.delenv(name, raising=False)
    packed = CliRunner().invoke(config_group, ["pack"]).stdout.strip()
    (folder / "people.csv").unlink()
    (folder / "config.yaml").unlink()
    assert load(None, {**ENVIRON, "BRIDGE_CONFIG_YAML": packed}).people == whole
