"""What a CODEOWNERS file says, by the rules of the two forges that have one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.owners import MOST_OWNERS, Codeowners, Form, parse

GITHUB = parse(
    """
# everything, unless a later line says otherwise
*                @acme/everyone
*.py             @snake   # a comment behind
/out/logs/       @logger
guide/*          guide@acme.example
bin/             @binder
/bin/            @rooted
**/deep          @diver
/src/**/gen.c    @maker
/src/free
with\\ space/     @spacer
""",
    Form.GITHUB,
)


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("notes.txt", ["acme/everyone"]),
        ("a/b/notes.txt", ["acme/everyone"]),
        ("x.py", ["snake"]),
        ("a/x.py", ["snake"]),
        ("out/logs/a/b.txt", ["logger"]),
        ("a/out/logs/b.txt", ["acme/everyone"]),
        ("guide/start.md", ["guide@acme.example"]),
        ("guide/more/start.md", ["acme/everyone"]),
        ("a/guide/start.md", ["acme/everyone"]),
        ("a/bin/x", ["binder"]),
        ("bin/x", ["rooted"]),
        ("bin", ["acme/everyone"]),
        ("a/b/deep/c/d", ["diver"]),
        ("deep/c", ["diver"]),
        ("src/gen.c", ["maker"]),
        ("src/a/b/gen.c", ["maker"]),
        ("src/free", []),
        ("src/free/x.py", []),
        ("with space/x", ["spacer"]),
    ],
)
def test_on_github_the_last_line_that_fits_holds(path: str, owners: list[str]) -> None:
    assert list(GITHUB.of([path])) == owners


@pytest.mark.parametrize("line", ["!/a @x", "[ab] @x", "\\#a @x", "a mona", "a @x mona", "a @-", "a @"])
def test_github_leaves_out_a_line_that_it_does_not_know(line: str) -> None:
    assert parse(f"* @all\n{line}", Form.GITHUB).of(["a", "#a", "b"]) == ("all",)


def test_upper_and_lower_case_are_different() -> None:
    assert parse("/Docs/ @x", Form.GITHUB).of(["docs/a"]) == ()


GITLAB = parse(
    """
* @keeper
[Guide] @acme/guides
guide/
/README.md @reader @@developer
guide.txt
^[Code][2] @coder
*.rb
!/gen/**/*.rb
\\#odd name\\ d @odd
[GUIDE]
/top.md @topper
""",
    Form.GITLAB,
)


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("x", ["keeper"]),
        ("a/guide/b/c", ["keeper", "acme/guides"]),
        ("guide", ["keeper"]),
        ("README.md", ["keeper", "reader"]),
        ("a/README.md", ["keeper"]),
        ("a/guide.txt", ["keeper", "acme/guides"]),
        ("a/x.rb", ["keeper", "coder"]),
        ("gen/a/x.rb", ["keeper"]),
        ("top.md", ["keeper", "topper"]),
    ],
)
def test_on_gitlab_each_section_has_its_owners(path: str, owners: list[str]) -> None:
    assert list(GITLAB.of([path])) == owners


def test_on_gitlab_a_path_without_a_slash_at_its_end_is_no_folder() -> None:
    assert parse("/docs @x", Form.GITLAB).of(["docs/a"]) == ()
    assert parse("/docs/* @x", Form.GITLAB).of(["docs/a", "docs/b/c"]) == ("x",)


def test_of_several_files_each_owner_is_told_once_in_their_order() -> None:
    assert GITHUB.of(["x.py", "bin/x", "a.py", "notes"]) == ("snake", "rooted", "acme/everyone")


def test_where_nobody_knows_the_files_the_owners_of_everything_are_told() -> None:
    assert GITHUB.of(None) == ("acme/everyone",)
    assert GITLAB.of(None) == ("keeper",)
    assert parse("/src @x", Form.GITHUB).of(None) == ()


def test_an_empty_file_has_no_owners() -> None:
    assert Codeowners().of(["a"]) == ()
    assert parse("", Form.GITLAB).of(["a"]) == ()


def test_there_are_never_more_owners_than_a_message_can_name() -> None:
    line = "* " + " ".join(f"@o{i}" for i in range(200))
    assert len(parse(line, Form.GITHUB).of(["a"])) == MOST_OWNERS


def test_no_pattern_is_slow() -> None:
    text = "\n".join(["*a" * 200 + "b @x", "/**" * 200 + "/b @x"] * 50)
    began = time.process_time()
    assert parse(text, Form.GITHUB).of(["a" * 250, "a/" * 400 + "c"]) == ()
    assert time.process_time() - began < 5.0


@given(st.text(alphabet="*/?![]\\#@a. \t\n^", max_size=200), st.text(alphabet="/a.*", max_size=40))
def test_whatever_is_written_is_read(text: str, path: str) -> None:
    for form in Form:
        assert isinstance(parse(text, form).of([path]), tuple)
