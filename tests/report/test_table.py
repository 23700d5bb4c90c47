from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from vmkit.report.table import Column, display_width, render_csv, render_table

COLUMNS: tuple[Column[tuple[str, str]], ...] = (
    Column("NAME", lambda row: row[0]),
    Column("NOTE", lambda row: row[1]),
    Column("LENGTH", lambda row: str(len(row[1])), wide=True),
)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    table = render_table(COLUMNS, [("web-1", "a"), ("database-1", "bb")])
    assert table == "NAME         NOTE\nweb-1        a\ndatabase-1   bb\n"


def test_wide_tables_show_more() -> None:
    assert render_table(COLUMNS, [("a", "b")], wide=True) == "NAME   NOTE   LENGTH\na      b      1\n"


def test_headings_can_be_left_out() -> None:
    assert render_table(COLUMNS, [("a", "b")], headers=False) == "a   b\n"
    assert render_table(COLUMNS, [], headers=False) == ""


def test_an_empty_cell_is_shown_as_none() -> None:
    assert render_table(COLUMNS, [("a", "")], headers=False) == "a   <none>\n"


def test_a_cell_cannot_break_its_line() -> None:
    table = render_table(COLUMNS, [("evil\nrow2   x", "\x1b]0;title\x07")], headers=False)
    assert table == "evil\\nrow2   x   \\x1b]0;title\\x07\n"


def test_wide_characters_take_two_cells() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    lines = render_table(COLUMNS, [("日本", "x"), ("abcd", "y")], headers=False).splitlines()
    assert lines == ["日本   x", "abcd   y"]


def test_csv_holds_every_column() -> None:
    assert render_csv(COLUMNS, [("a", 'say "hi", twice')]) == 'name,note,length\na,"say ""hi"", twice",15\n'


def test_csv_cells_are_no_formulas() -> None:
    assert render_csv(COLUMNS, [("=cmd()", "@x")], headers=False) == "'=cmd(),'@x,2\n"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_csv_has_one_record_for_each_row(rows: list[tuple[str, str]]) -> None:
    records = list(csv.reader(io.StringIO(render_csv(COLUMNS, rows))))
    assert len(records) == 1 + len(rows)
    assert all(len(record) == len(COLUMNS) for record in records)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_tables_have_one_line_for_each_row(rows: list[tuple[str, str]]) -> None:
    assert len(render_table(COLUMNS, rows).split("\n")) == len(rows) + 2
