"""What a template sees and may do, and how what it writes becomes a message."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.destinations import console
from bridge.errors import TemplateError
from bridge.event import Change, Event, Kind, RunRef, Status, Task
from bridge.message import Bullets, Code, Heading, Message, Paragraph, Quote, Span, text_of
from bridge.render import DEFAULT_TEMPLATE, Renderer, View, markdown, plain
from bridge.render.foreign import foreign, reveal, tidy
from bridge.render.samples import NOW, full, views
from tests.altered import replace
from tests.hostile import HOSTILE, TEMPLATES, bare, view

SHIPPED = Renderer(TEMPLATES)
BROKEN = full(Kind.PIPELINE, Status.FAILURE, Change.BROKEN)


def rendered(template: str, seen: View = BROKEN) -> Message:
    return Renderer({"t.md.j2": template}).render("t", seen, "slack")


def said(template: str, seen: View = BROKEN) -> str:
    return text_of(rendered("{% block title %}" + template + "{% endblock %}", seen).title)


def event(**changes: object) -> View:
    return replace(BROKEN, event=BROKEN.event.with_(**changes))


# -- the shipped templates


def test_shipped_templates_have_no_problems() -> None:
    assert SHIPPED.problems() == []


def test_there_is_a_shipped_template_for_every_kind() -> None:
    renderer = SHIPPED
    assert set(DEFAULT_TEMPLATE) == set(Kind)
    assert all(renderer.has(name) for name in DEFAULT_TEMPLATE.values())


@pytest.mark.parametrize("kind", Kind)
def test_an_event_of_which_nothing_is_known_still_has_a_title(kind: Kind) -> None:
    assert text_of(SHIPPED.render(DEFAULT_TEMPLATE[kind], bare(kind), "slack").title).strip()


@pytest.mark.parametrize(
    ("status", "change", "title"),
    [
        (Status.FAILURE, Change.BROKEN, "🔴 CI broke on main · acme/app"),
        (Status.TIMEOUT, Change.BROKEN, "⏱️ CI broke on main, it timed out · acme/app"),
        (Status.FAILURE, Change.STILL_FAILING, "🔴 CI is failing on main for the 3rd time · acme/app"),
        (Status.SUCCESS, Change.FIXED, "✅ CI is fixed on main · acme/app"),
        (Status.SUCCESS, Change.STILL_PASSING, "🟢 CI passed on main · acme/app"),
        (Status.RUNNING, None, "🔵 CI is running on main · acme/app"),
        (Status.WAITING, None, "🟠 CI waits for approval on main · acme/app"),
        (Status.CANCELLED, None, "⚫ CI was cancelled on main · acme/app"),
    ],
)
def test_title_of_a_run_says_what_happened(status: Status, change: Change | None, title: str) -> None:
    seen = full(Kind.PIPELINE, status, change)
    seen = replace(seen, event=seen.event.with_(pull_request=None, tag=None))
    assert text_of(SHIPPED.render("run", seen, "slack").title) == title


def test_living_message_shows_tasks_and_progress() -> None:
    states = [Status.SUCCESS, Status.FAILURE, Status.RUNNING, Status.QUEUED]
    tasks = tuple(Task(id=str(number), name=f"t{number}", status=state) for number, state in enumerate(states))
    seen = replace(full(Kind.PIPELINE, Status.RUNNING, None, live=True), tasks=tasks)
    body = "\n".join(
        text_of(block.spans) for block in SHIPPED.render("run", seen, "slack").body[2:] if isinstance(block, Paragraph)
    )
    assert "2 of 4 done" in body
    assert "🟢 t0  🔴 t1  🔵 t2  ⚪ t3" in body


def words(seen: View, template: str = "run") -> str:
    return console.text(SHIPPED.render(template, seen, "console"), colour=False)


def test_what_is_new_stands_beside_what_failed_before() -> None:
    seen = full(Kind.PIPELINE, Status.FAILURE, Change.STILL_FAILING)
    names = [f"{'x' * 120} {number}" for number in range(2)]
    tasks = tuple(Task(id=name, name=name, status=Status.FAILURE) for name in ("test (3.12)", "lint", *names))
    told = replace(seen, event=seen.event.with_(newly_failing=("test (3.12)", names[0][:100])), tasks=tasks)
    text = words(told)
    assert f"New: test (3.12), {names[0][:100]}\n" in text
    assert "Still failing: lint\n" in text
    assert "Still failing" not in words(BROKEN), "all that broke is new"


def test_many_new_failures_are_cut_sensibly() -> None:
    seen = full(Kind.PIPELINE, Status.FAILURE, Change.STILL_FAILING)
    many = seen.event.with_(newly_failing=tuple(f"test {number}" for number in range(40)))
    text = words(replace(seen, event=many))
    assert "New: test 0, test 1, test 2, test 3, test 4, test 5 and 34 more\n" in text


def test_what_passed_when_it_was_run_again_is_said_to_be_flaky() -> None:
    text = words(full(Kind.PIPELINE, Status.SUCCESS, Change.FIXED, flaky=True))
    assert "CI is fixed on #12, it passed when run again (flaky)" in text
    assert "Failed before: lint\n" in text


def test_a_task_that_fails_anew_says_so() -> None:
    broken = full(Kind.TASK, Status.FAILURE, None)
    assert "newly failing" not in words(broken, "task")
    new = replace(broken, event=broken.event.with_(newly_failing=("lint",)))
    assert "newly failing" in words(new, "task")


def test_what_is_fixed_broke_before() -> None:
    seen = full(Kind.PIPELINE, Status.SUCCESS, Change.FIXED)
    assert "broke 2 h ago" in words(seen)
    quick = replace(seen, event=seen.event.with_(failing_since=seen.now))
    assert "broke just before" in words(quick)


def test_many_failed_tasks_are_named_up_to_eight() -> None:
    tasks = tuple(Task(id=str(number), name=f"t{number}", status=Status.FAILURE) for number in range(20))
    body = SHIPPED.render("run", replace(BROKEN, tasks=tasks), "slack").body
    items = next(block for block in body if isinstance(block, Bullets)).items
    assert [text_of(item) for item in items][-2:] == ["t7 failed", "and 12 more"]


# -- names


def test_every_field_of_an_event_is_a_name() -> None:
    names = " ".join("{{ " + name + " }}" for name in Event.__struct_fields__ if name not in ("tasks", "task"))
    assert said(names)


def test_unknown_is_empty_and_false() -> None:
    assert said("[{{ author }}{{ 'x' if branch else '' }}{{ run.number }}{{ task.name }}]", bare(Kind.PUSH)) == "[]"


def test_a_name_that_does_not_exist_is_refused_with_its_line() -> None:
    with pytest.raises(TemplateError, match=r"^templates/t\.md\.j2:2: there is no 'titel', did you mean 'title'\?$"):
        rendered("first\n{{ titel }}")


def test_an_attribute_that_does_not_exist_is_refused_with_its_line() -> None:
    with pytest.raises(TemplateError, match=r"^templates/t\.md\.j2:3: there is no 'nubmer' here$"):
        rendered("{# one #}\n\n{{ run.nubmer }}", bare(Kind.PUSH))


def test_texts_compare_like_themselves() -> None:
    seen = event(branch="release/1.x", labels=("needs: review",))
    template = """
    {%- if branch == "release/1.x" and branch != "main" and "release/1.x" == branch %}a{% endif %}
    {%- if branch in ["main", "release/1.x"] and branch.startswith("release/") and "/1." in branch %}b{% endif %}
    {%- if {"release/1.x": 1}[branch] == 1 and "needs: review" in labels %}c{% endif %}
    {%- for part in branch.split("/") %}[{{ part }}]{% endfor %}"""
    assert said(template, seen) == "abc[release][1.x]"


def test_what_is_made_of_a_text_is_still_text() -> None:
    seen = event(branch="*a*/b")
    for form in (
        "{{ branch }}",
        "{{ branch|upper|lower }}",
        "{{ branch.replace('/', '/') }}",
        "{{ branch|replace('/', '/') }}",
        "{{ branch ~ '' }}",
        "{{ [branch]|join(', ') }}",
        "{{ branch|truncate(99) }}",
        "{{ branch.split('/')|join('/') }}",
        "{{ branch|trim }}",
        "{{ branch|string }}",
    ):
        spans = rendered("{% block title %}" + form + "{% endblock %}", seen).title
        assert spans == (Span("*a*/b"),), form


def test_statuses_compare_with_plain_words() -> None:
    assert said('{{ "yes" if status == "failure" and change == "broken" and kind == "pipeline" else "no" }}') == "yes"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ duration|duration }}", "2 min 14 s"),
        ("{{ 0|duration }}{{ none|duration }}{{ 'x'|duration }}{{ -1|duration }}", "0 s"),
        ("{{ failing_since|ago }}", "2 h ago"),
        ("{{ now|ago }}", "just now"),
        ("{{ now|time }}", "2026-11-05 14:03 UTC"),
        ("{{ sha|short_sha }}", "4f2a9c1"),
        ("{{ status|said }} {{ status|emoji }}", "failed 🔴"),
        (
            "{{ 1|ordinal }} {{ 2|ordinal }} {{ 3|ordinal }} {{ 4|ordinal }} {{ 11|ordinal }} {{ 22|ordinal }}",
            "1st 2nd 3rd 4th 11th 22nd",
        ),
        ("{{ author|ago }}{{ author|time }}{{ none|short_sha }}{{ author|said }}{{ author|ordinal }}.", "."),
    ],
)
def test_filters(template: str, text: str) -> None:
    assert said(template) == text


def test_a_huge_duration_is_left_out() -> None:
    assert said("[{{ duration|duration }}]", event(duration=1e300)) == "[]"
    assert said("[{{ duration|duration }}]", event(duration=float("nan"))) == "[]"


def test_urlencode_makes_a_part_of_an_address() -> None:
    message = rendered("[x](https://ci.example.com/{{ branch|urlencode }})", event(branch="a b/(c)&d"))
    assert message.title[0].link == "https://ci.example.com/a%20b%2F%28c%29%26d"


def test_only_web_addresses_become_links() -> None:
    assert rendered("[x]({{ url }})", event(url="javascript:alert(1)")).title == (Span("x"),)
    assert rendered("[x](javascript:alert)").title == (Span("x"),)


def test_texts_are_shortened_before_a_template_sees_them() -> None:
    seen = event(title="x" * 10_000, author="y" * 10_000, message="z" * 10_000)
    assert said("{{ title|length }} {{ author|length }} {{ message|length }}", seen) == "300 250 1000"
    assert said("{{ title }}", seen).endswith("x…")


# -- Markdown


def test_markdown_becomes_a_tree() -> None:
    template = """{% block title %}**b** *i* ~~s~~ `c` [l](https://example.com){% endblock %}
{% block body %}
# Head
text
on two lines

- one
- two
  - nested

1. first

> quoted

```
code
```

    not code

![picture](https://example.com/x.png) <b>html</b>
{% endblock %}"""
    message = rendered(template)
    assert message.title == (
        Span("b", bold=True),
        Span(" "),
        Span("i", italic=True),
        Span(" "),
        Span("s", strike=True),
        Span(" "),
        Span("c", code=True),
        Span(" "),
        Span("l", link="https://example.com"),
    )
    assert message.body == (
        Heading((Span("Head"),)),
        Paragraph((Span("text\non two lines"),)),
        Bullets(((Span("one"),), (Span("two\n• nested"),))),
        Bullets(((Span("first"),),), ordered=True),
        Quote((Span("quoted"),)),
        Code("code"),
        Paragraph((Span("not code"),)),
        Paragraph((Span("picture", link="https://example.com/x.png"), Span(" <b>html</b>"))),
    )


def test_facts_are_pairs() -> None:
    facts = rendered(
        "{% block facts %}\n- **Branch:** {{ branch }}\n- **Sha**: abc\n- alone\n- **Empty:**\n{% endblock %}"
    ).facts
    assert [(label, text_of(value)) for label, value in facts] == [("Branch", "main"), ("Sha", "abc"), ("", "alone")]


def test_without_blocks_the_first_paragraph_is_the_title() -> None:
    message = rendered("first *one*\n\nsecond\n")
    assert text_of(message.title) == "first one"
    assert message.body == (Paragraph((Span("second"),)),)


def test_a_template_that_writes_nothing_gets_the_plain_title() -> None:
    assert text_of(rendered("").title) == text_of(plain(BROKEN).title)


# -- templates that build on others


def test_one_block_can_be_overridden_alone() -> None:
    mine = '{% extends "run.md.j2" %}{% block footer %}mine, {{ super() }}{% endblock %}'
    renderer = Renderer(TEMPLATES | {"mine.md.j2": mine})
    shipped, message = renderer.render("run", BROKEN, "slack"), renderer.render("mine", BROKEN, "slack")
    assert text_of(message.footer).split() == ["mine,", *text_of(shipped.footer).split()]
    assert replace(message, footer=()) == replace(shipped, footer=())


def test_a_template_can_extend_the_shipped_one_that_it_replaces() -> None:
    mine = '{% extends "run.md.j2" %}{% block footer %}mine{% endblock %}'
    renderer = Renderer(TEMPLATES | {"run.md.j2": mine, "shipped/run.md.j2": TEMPLATES["run.md.j2"]})
    assert renderer.problems() == []
    assert text_of(renderer.render("run", BROKEN, "slack").footer) == "mine"


def test_a_variable_of_the_top_is_there_in_blocks() -> None:
    assert text_of(rendered("{% set a = branch %}{% block title %}{{ a }}{% endblock %}").title) == "main"


def test_buttons_open_the_run_and_its_pull_request() -> None:
    message = rendered("x")
    assert [(button.text, button.url) for button in message.buttons] == [
        ("Open run", "https://github.com/acme/app/actions/runs/41"),
        ("Open pull request", "https://github.com/acme/app/pull/12"),
    ]


def test_the_platforms_own_template_goes_first() -> None:
    sources = TEMPLATES | {"slack/run.json.j2": '{"text": "own"}'}
    assert Renderer(sources).render("run", BROKEN, "slack").native == {"text": "own"}
    assert Renderer(sources).render("run", BROKEN, "console").native is None


def test_a_missing_template_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(TemplateError, match="no template named 'rnu', did you mean 'run'"):
        SHIPPED.render("rnu", BROKEN, "slack")


# -- what a template may not


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ title.__class__.__mro__ }}",
        "{{ event.with_(title='x') }}",
        "{{ event.__init__.__globals__ }}",
        "{{ self.__init__ }}{{ self._TemplateReference__context }}",
        "{{ ''.format(1) }}",
        "{{ '{0.__class__}'.format(title) }}",
        "{{ 'x'.center(999999999) }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ title % 1 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'x' * 999999999 }}",
        "{{ [1] * 999999999 }}",
        "{{ range(10) }}",
        "{{ cycler }}",
        "{% for x in 'abc' * 9 %}{% endfor %}",
        "{% for x in range(9) %}{% endfor %}",
        "{% for a in tasks %}{% for b in tasks %}{% for c in tasks %}{% for d in tasks %}{% endfor %}{% endfor %}"
        "{% endfor %}{% endfor %}",
        "{% for a in tasks recursive %}{{ loop(tasks) }}{% endfor %}",
        "{% include 't.md.j2' %}",
        "{% extends 'other.md.j2' %}",
        "{% import branch as x %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ labels.append('x') }}",
        "{% set x = {} %}{{ x.update({1: 2}) }}",
        "{{ title|attr('__class__') }}",
        "{{ status.__class__ }}",
        "{{ title.encode }}{{ title.encode() }}",
        "{{ status.mro() }}",
        "{{ now.replace(year=1) }}",
    ],
)
def test_a_template_cannot_reach_python_or_run_for_ever(template: str) -> None:
    with pytest.raises(TemplateError, match=r"^templates/t\.md\.j2:1: "):
        rendered(template)


def test_output_is_capped() -> None:
    text = "x" * 1_000
    with pytest.raises(TemplateError, match="64,000 characters"):
        rendered(
            "{% for a in tasks %}{% for b in tasks %}" + text + "{% endfor %}{% endfor %}",
            replace(BROKEN, tasks=(Task(id="1", name="t"),) * 10),
        )


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ title|trunc }}", "{% block a %}{% endblock %}{% block a %}{% endblock %}"]
)
def test_a_template_that_cannot_be_read_says_where(template: str) -> None:
    with pytest.raises(TemplateError, match=r"^templates/t\.md\.j2:2: "):
        rendered("\n" + template)


def test_a_bad_template_leaves_the_others_alone() -> None:
    renderer = Renderer(TEMPLATES | {"bad.md.j2": "{% if %}"})
    assert renderer.render("run", BROKEN, "slack").title
    assert [problem.name for problem in renderer.problems()] == ["bad.md.j2"]


def test_an_error_repeats_no_text_of_the_event() -> None:
    secret = "what nobody may read in a log"
    for template in (
        "{{ event.with_(title='x') }}",
        "{{ labels[title] }}",
        "{{ title + 1 }}",
        "{{ {}[title] }}",
        "{{ title|int + title }}",
        "{{ title() }}",
        "{{ facts[title].x }}",
        "{{ title.index('zzz') }}",
    ):
        with pytest.raises(TemplateError) as caught:
            rendered(template, event(title=secret))
        assert "nobody" not in reveal(str(caught.value)), template


def test_problems_are_found_without_an_event() -> None:
    sources = {
        "a.md.j2": "\n{{ run.nubmer }}",
        "slack/b.json.j2": '{"text": {{ title }} }',
        "c.md.j2": "{{ author.split('@') }}",
    }
    problems = [str(problem) for problem in Renderer(sources).problems()]
    assert problems[0] == "templates/a.md.j2:2: there is no 'nubmer' here"
    assert problems[1].startswith("templates/c.md.j2:1: 'split' is asked of what may be unknown")
    assert problems[2].startswith("templates/slack/b.json.j2:1: what it writes is no JSON")


# -- a platform's own JSON


NATIVE = """{
 "text": "{{ title }} on *{{ branch }}*",
 "blocks": [
  {"type": "header", "text": {"type": "plain_text", "text": {{ title|tojson }} }},
  {"type": "section", "text": {"type": "mrkdwn", "text": "*{{ pipeline }}* <{{ url }}|{{ title }}> by {{ author }}"},
   "fields": [{"type": "mrkdwn", "text": "{{ branch }}"}, {"type": "plain_text", "text": "{{ author }}"}]},
  {"type": "context", "elements": [{"type": "mrkdwn", "text": "> {{ title }}"}]},
  {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
    {"type": "text", "text": "{{ title }}"}, {"type": "link", "url": "{{ url }}", "text": "{{ title }}"}]}]},
  {"type": "actions", "elements": [{"type": "button", "action_id": "a", "url": "{{ url }}",
    "text": {"type": "plain_text", "text": "{{ title }}"}}]}
 ],
 "attachments": [{"color": "#ff0000", "fallback": "{{ title }}", "blocks": [
  {"type": "section", "text": {"type": "mrkdwn", "text": "{{ title }}"}}]}]
}"""


@cache
def own(template: str) -> Renderer:
    return Renderer({"slack/t.json.j2": template})


def native(seen: View, template: str = NATIVE) -> dict[str, object]:
    tree = own(template).render("t", seen, "slack").native
    assert tree is not None
    return tree


def test_json_templates_escape_for_the_place() -> None:
    tree = json.dumps(
        native(event(title='"<!channel>" *a* & `b`\n_c_ my_x > https://evil.example')), ensure_ascii=False
    )
    mrkdwn = '\\"&lt;!channel&gt;\\" ∗a∗ &amp; ˋbˋ ˍcˍ my_x &gt; https:\u2060//evil.example'
    assert f'"text": "{mrkdwn} on *main*"' in tree
    assert f"<https://github.com/acme/app/actions/runs/41|{mrkdwn}>" in tree
    assert '{"type": "plain_text", "text": "\\"<\u2060!channel>\\" *a* & `b` _c_ my_x > https://evil.example"}' in tree


def test_json_templates_show_a_quote_at_a_lines_start_as_text() -> None:
    tree = native(event(title="> x"), '{"text": "{{ title }}"}')
    assert tree == {"text": "\u2060&gt; x"}


def test_json_templates_keep_good_addresses_whole() -> None:
    seen = event(url="https://ci.example.com/a?b=1&c=2_x*y")
    tree = native(seen, '{"text": "<{{ url }}|x>", "blocks": [{"type": "image", "image_url": "{{ url }}"}]}')
    assert tree["text"] == "<https://ci.example.com/a?b=1&amp;c=2_x*y|x>"
    assert tree["blocks"] == [{"type": "image", "image_url": "https://ci.example.com/a?b=1&c=2_x*y"}]


def test_json_templates_replace_bad_addresses_by_the_events_page() -> None:
    template = '{"text": "<{{ title }}|x>", "blocks": [{"type": "button", "url": "{{ title }}"}]}'
    assert native(event(title="javascript:alert(1)"), template) == {
        "text": "x",
        "blocks": [{"type": "button", "url": "https://github.com/acme/app/actions/runs/41"}],
    }
    template = '{"blocks": [{"type": "link", "url": "{{ title }}"}, {"type": "button", "url": "{{ title }}"}]}'
    assert native(event(title="x", url=None), template) == {"blocks": [{"type": "button"}]}


def test_json_templates_have_their_fallback_text_from_the_common_one() -> None:
    message = Renderer(TEMPLATES | {"slack/run.json.j2": NATIVE}).render("run", BROKEN, "slack")
    assert text_of(message.title).startswith("🔴 CI broke")


@pytest.mark.parametrize("value", HOSTILE)
def test_json_templates_stay_json_whatever_an_event_says(value: str) -> None:
    assert set(native(view(Kind.PIPELINE, Status.FAILURE, value))) == {"text", "blocks", "attachments"}


@pytest.mark.parametrize("text", ["[]", "1" * 5_000, '{"text": }', "", '"x"', "[" * 5_000])
def test_json_that_is_none_is_a_template_error(text: str) -> None:
    with pytest.raises(TemplateError, match=r"^templates/slack/t\.json\.j2:1: "):
        native(BROKEN, text)


# -- the fall-back


@pytest.mark.parametrize("value", HOSTILE)
def test_plain_never_fails(value: str) -> None:
    for kind in Kind:
        message = plain(view(kind, Status.FAILURE, value))
        assert text_of(message.title).strip()
        assert len(text_of(message.title)) < 600


def test_plain_says_what_is_known() -> None:
    assert text_of(plain(BROKEN).title) == "🔴 CI failed on main · acme/app"
    assert [text_of(plain(bare(kind)).title) for kind in (Kind.PUSH, Kind.PIPELINE)] == ["📦 push", "❔ pipeline"]


# -- hidden text


def test_hiding_is_undone_by_revealing() -> None:
    text = tidy("a*b_c <!x> [y](z) `q` \\ \"'", 100)
    assert foreign(text) == text
    assert not set("*_<>[]()`\\\"'") & set(iter(foreign(text)))
    assert reveal(foreign(text)) == text


def test_private_characters_of_an_event_are_no_hidden_ones() -> None:
    assert tidy("\ue03c!channel\ue03e", 100) == "\ufffd!channel\ufffd"


def test_marks_that_reorder_text_are_taken_out() -> None:
    assert tidy("a\u202eb\u2066c", 100) == "abc"


def test_views_for_trying_cover_every_kind_and_state() -> None:
    seen = {(one.event.kind, one.event.status) for one in views()}
    assert seen == {(kind, status) for kind in Kind for status in Status}


def test_ago_uses_the_largest_unit() -> None:
    for back, text in (
        (59, "just now"),
        (60, "1 min ago"),
        (3_599, "59 min ago"),
        (7_260, "2 h ago"),
        (200_000, "2 d ago"),
    ):
        assert said("{{ started_at|ago }}", event(started_at=NOW - timedelta(seconds=back))) == text


def test_run_of_an_event_is_seen_with_its_number() -> None:
    assert (
        said(
            "{{ run.number }} {{ number }} {{ attempt }} {{ event.run.id }}",
            event(run=RunRef(id="x", number=7, attempt=3)),
        )
        == "7 7 3 x"
    )


PIECES = st.lists(
    st.sampled_from(
        "a word two words 7 12. 3) # ## - * ** _ __ ~~ ` ``` > [ ]( ) ]: ![ <b> & &amp; \\ : | http://a.example/x(y "
        "\ue02a\ue05f é 🟢 \n \n\n ' \" ! ( {  \u00a0".split(" ")
    ).map(lambda piece: piece or " "),
    max_size=25,
).map("".join)


@settings(max_examples=500, deadline=None)
@given(text=PIECES)
def test_a_form_that_was_parsed_before_reads_as_the_text_itself(text: str) -> None:
    parsed = tuple(markdown._filled(block, []) for block in markdown._blocks(markdown._parser().parse(text)))
    assert markdown.blocks(text) == parsed
    assert markdown.blocks(text) == parsed, "and so it does a second time"


# -- what a picky reader would ask


def facing(kind: Kind, status: Status = Status.SUCCESS, **said: object) -> str:
    """Return the whole message of an event that says little else."""
    seen = View(event=Event(source="x", type="x", kind=kind, status=status).with_(**said), now=NOW)
    message = SHIPPED.render(DEFAULT_TEMPLATE[kind], seen, "slack")
    return "\n".join([text_of(message.title), *console.text(message, colour=False).splitlines()[1:]])


@pytest.mark.parametrize("words", ["passed with warnings", "unstable", "partially succeeded"])
def test_what_a_sender_adds_to_a_success_is_said(words: str) -> None:
    assert words in facing(Kind.PIPELINE, description=words)


def test_what_the_failed_task_says_is_not_said_twice() -> None:
    task = Task(id="lint", name="lint", status=Status.FAILURE, note="3 hints")
    assert facing(Kind.PIPELINE, Status.FAILURE, description="3 hints", tasks=(task,)).count("3 hints") == 1


def test_a_deployment_without_a_repository_names_its_site_once() -> None:
    text = facing(Kind.DEPLOYMENT, environment="production", pipeline="acme-app")
    assert text.splitlines()[0] == "🚀 Deployed to production · acme-app"
    assert text.count("acme-app") == 1
    assert facing(Kind.DEPLOYMENT, environment="acme-app", pipeline="acme-app").count("acme-app") == 1


def test_a_deployment_in_a_state_that_we_do_not_know_is_never_shown_as_one_that_went_out() -> None:
    text = facing(Kind.DEPLOYMENT, Status.UNKNOWN, environment="production", action="deploy_ended", branch="main")
    assert text.splitlines()[0] == "❔ Deployment of main to production is in an unknown state"
    assert "🚀" not in text


def test_an_alert_says_its_sentence_once_and_how_long_it_lasted() -> None:
    begun = NOW - timedelta(hours=2)
    text = facing(Kind.ALERT, title="Disk full", description="Disk full", started_at=begun, duration=360)
    assert text.count("Disk full") == 1
    assert "began 2 h ago · lasted 6 min" in text


def test_a_task_that_is_under_way_took_no_time_yet() -> None:
    task = Task(id="1", name="lint", status=Status.RUNNING, duration=1)
    assert "1 s" not in facing(Kind.TASK, Status.RUNNING, task=task)


def test_a_repository_that_the_title_names_is_not_named_again() -> None:
    assert facing(Kind.AUDIT, title="moved: acme/app", repository="acme/app").count("acme/app") == 1


def test_a_release_without_a_tag_has_its_title_once() -> None:
    assert facing(Kind.RELEASE, title="pkg:oci/app").count("pkg:oci/app") == 1


def test_what_was_deleted_opens_no_changes() -> None:
    said = {"action": "deleted", "branch": "old", "url": "https://github.com/acme/app", "sha": "c0ffee5"}
    text = facing(Kind.PUSH, Status.UNKNOWN, repository_url="https://github.com/acme/app", **said)
    assert "Open repository" in text
    assert "Open changes" not in text
    assert "Open commit" not in text
