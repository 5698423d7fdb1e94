"""The drawing of tables, as text and as HTML."""

from magician.tables import Table


def test_a_cell_with_several_lines_makes_its_row_higher():
    table = Table(["what", "found"], [["sides", "left\nand right"], ["frames", "93"]])
    assert repr(table).splitlines() == [
        "what    found",
        "------  ---------",
        "sides   left",
        "        and right",
        "frames  93",
    ]
    assert "left<br>and right</td>" in table._repr_html_()


def test_a_summary_stands_above_the_table():
    table = Table(["a"], [["b"]], summary="1 < 2")
    assert repr(table).splitlines() == ["1 < 2", "a", "-", "b"]
    assert table._repr_html_().startswith("<p>1 &lt; 2</p><table><thead>")


def test_a_table_without_headings_has_only_its_rows():
    table = Table((), [["a", "b"], ["long", "c"]])
    assert repr(table).splitlines() == ["a     b", "long  c"]
    assert "<th" not in table._repr_html_()
