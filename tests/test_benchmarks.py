"""The benchmarks still run. What they measure is nobody's business here: a test that times fails by chance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import picture, report
from benchmarks.row import Row, at_least, at_most, number, percentile

ROOT = Path(__file__).parents[1]


def test_a_goal_is_met_on_its_own_side() -> None:
    assert Row("a", "a", (0.4, 0.6, 0.5), goal=at_least(0.5)).met is True
    assert Row("a", "a", (0.4, 0.6, 0.5), goal=at_most(0.4)).met is False


def test_what_was_not_measured_meets_no_goal_and_misses_none() -> None:
    assert Row("a", "a", goal=at_least(0.5), missing="no compiler").met is None
    assert Row("a", "a", (1.0,)).met is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([], 99) == 0.0


def test_figures_have_as_many_digits_as_they_deserve() -> None:
    assert [number(value) for value in (0.5234, 41.27, 3145.2, 50.0, -0.001)] == [
        *("0.52", "41.3", "3,145", "50", "0.00")
    ]


ROWS = [
    Row("a", "accept <1 kB | 2>", (0.4, 0.6), "of bare", at_least(0.5), "5 of 10/s").plain(),
    Row("b", "on a slower disk", goal=at_least(0.3), missing="no C compiler").plain(),
]
MEASURED = {
    "machine": {"cpus": 2, "cpu": "made up", "pinned": True, "system": "Linux", "python": "3.13", "sqlite": "3.40"}
    | {"sync_ms": 0.1, "load_before": 0.0, "date": "2026-01-01", "commit": "abc", "seconds": 7},
    "quick": False,
    "parts": {"accept": ROWS},
}


def test_what_is_left_out_is_named_with_its_reason() -> None:
    assert "| on a slower disk | - | ≥ 0.30 |  | left out: no C compiler |" in report.markdown(MEASURED)


def test_the_picture_is_xml_that_shows_each_goal_that_was_measured() -> None:
    texts = [text.text for text in ElementTree.fromstring(picture.drawn(MEASURED)).iter() if text.text]
    assert "accept <1 kB | 2>" in texts
    assert "0.50 of bare (≥ 0.50)" in texts
    assert "on a slower disk" not in texts


def test_only_the_results_of_the_page_are_written_anew(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text(f"before {report.BEGIN} old {report.END} after")
    report.write_docs(MEASURED, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.startswith("before ")
    assert page.endswith(" after")
    assert " old " not in page
    assert "accept <1 kB" in page


@pytest.mark.slow
def test_the_benchmarks_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "accept"]
    found = subprocess.run(
        [*command, "--seconds", "0.2", "--folder", str(tmp_path), "--json", str(tmp_path / "out.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["parts"]["accept"]
    assert {row["key"] for row in rows} >= {"accept.github", "accept.cirrus", "accept.github.matched"}
    assert all(row["value"] for row in rows if not row["missing"])
    assert [row["missing"] for row in rows if row["key"] == "accept.github"] == [""]
