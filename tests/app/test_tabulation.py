"""Tables as text."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.tabulation import Column, csv_cell, markdown_text, to_csv, to_latex, to_markdown
from tests.lab_models.conftest import EXAMPLES

COLUMNS = [
    Column[dict[str, object]]("a_b", lambda row: str(row["a"])),
    Column[dict[str, object]]("n, %", lambda row: str(row["n"]), is_number=True),
]


def test_a_bar_or_a_line_break_cannot_break_a_markdown_table() -> None:
    assert (
        to_markdown(COLUMNS, [{"a": "x|y\nz", "n": 1}])
        == "| a_b | n, % |\n| --- | ---: |\n| x\\|y z | 1 |\n"
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("[here](http://evil.example) ![x](y)", r"\[here\](http://evil.example) !\[x\](y)"),
        ("`code` **bold** ~~gone~~ $x$ &lt;", r"\`code\` \*\*bold\*\* \~\~gone\~\~ \$x\$ \&lt;"),
        (r"a\<b", r"a\\\<b"),
        ("last_hidden __init__ _x_", r"last_hidden \_\_init\_\_ \_x\_"),
        ("93.10 ± 0.20, 95 % interval, T = 4", "93.10 ± 0.20, 95 % interval, T = 4"),
    ],
)
def test_what_people_wrote_is_text_in_markdown(text: str, written: str) -> None:
    assert markdown_text(text) == written


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://evil","x")',
        "+1-1@x",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "=",
        "-",
        "-1_000",
        "+inf",
        "-0x1",
        "1\n".replace("1", "+"),
        "\uff1d1+1",
        "'=1",
        "''@x",
    ],
)
def test_what_a_spreadsheet_would_compute_begins_with_an_apostrophe(text: str) -> None:
    written = "'" + text.replace("\r", "\n")
    assert csv_cell(text) == written
    assert list(csv.reader(io.StringIO(to_csv([{text: text}]), newline=""))) == [
        [written],
        [written],
    ]


@pytest.mark.parametrize(
    "value",
    [-1, -0.5, "-1", "+1.5", "-.5e-10", "1e5", "mlp 2 x 32", "a=b", "depth=2", "'1", "", "±1"],
)
def test_numbers_and_other_texts_are_written_as_they_are(value: object) -> None:
    assert csv_cell(value) == value


@EXAMPLES
@given(st.text())
def test_no_text_is_written_so_that_a_spreadsheet_computes_it(text: str) -> None:
    written = csv_cell(text)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert written in (plain, "'" + plain)
    if written and written[0] in "=+-@\t\n\uff1d\uff0b\uff0d\uff20":
        float(written)
    assert list(csv.reader(io.StringIO(to_csv([{"a": text, "b": 1}]), newline="")))[1:] == [
        [written, "1"]
    ]


def test_latex_takes_no_character_for_a_command() -> None:
    text = to_latex(
        COLUMNS, [{"a": r"50 % of \x_{1} & #~^$", "n": "1 ± 2"}], caption="100 % & more"
    )
    assert (
        r"50 \% of \textbackslash{}x\_\{1\} \& \#\textasciitilde{}\textasciicircum{}\$ & 1 $\pm$ 2 \\"
        in text
    )
    assert r"\caption{100 \% \& more}" in text
    assert r"\begin{tabular}{lr}" in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a<b>|c", r"a\textless{}b\textgreater{}\textbar{}c"),
        ("[1cm] *", "{[}1cm] {*}"),
        ("lr--0 ?`x''", r"lr-{}-0 ?{}\textasciigrave{}x'{}'"),
        ('"é" ≤ 2', r"{\ttfamily\char34}é{\ttfamily\char34} $\le$ 2"),
        ("a\x00b\u202ec\td", "abc d"),
    ],
)
def test_latex_has_the_glyphs_that_were_written_with_the_oldest_fonts(
    text: str, written: str
) -> None:
    lines = to_latex(COLUMNS, [{"a": text, "n": 1}], caption="x").splitlines()
    assert f"{written} & 1 \\\\" in lines
    assert not any("lualatex" in line for line in lines)


@pytest.mark.parametrize("text", ["犬", "😀", "Привет"])
def test_latex_that_pdflatex_cannot_set_says_what_can(text: str) -> None:
    for table in (
        to_latex(COLUMNS, [{"a": text, "n": 1}], caption="x"),
        to_latex(COLUMNS, [], caption=text),
    ):
        assert text in table
        assert "% has characters that pdflatex lacks: use lualatex" in table.splitlines()[1]


COMMAND = re.compile(r"\\(?:[a-zA-Z]+|[&%$#_{}])")


WRITTEN = st.text() | st.text(st.sampled_from("\\`*_[]()<>|~$&#;{}%^-',?!\"ab1 \n"))


@EXAMPLES
@given(WRITTEN)
def test_no_text_is_more_than_text_in_latex(text: str) -> None:
    table = to_latex(COLUMNS, [{"a": text, "n": 1}], caption="x")
    (row,) = (line for line in table.splitlines() if line.endswith(r" & 1 \\"))
    cell = row.removesuffix(r" & 1 \\")
    assert not re.match(r"[\[*]", cell), "the row before would end with it"
    rest = COMMAND.sub("", cell)
    assert not re.search(r"[\\&%#_~^<>|`\"\x00-\x1f]|--|''|,,", rest)
    assert rest.count("$") % 2 == 0
    assert rest.count("{") == rest.count("}")


@EXAMPLES
@given(WRITTEN)
def test_no_text_breaks_its_row_in_markdown_or_is_markup(text: str) -> None:
    table = to_markdown(COLUMNS, [{"a": text, "n": 1}])
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(table)
    _, _, cell, number = (token for token in tokens if token.type == "inline")
    assert number.content == "1"
    shown = " ".join(text.split()).replace("\0", "\ufffd")
    assert [(part.type, part.content) for part in cell.children or ()] == [("text", shown)] * bool(
        shown
    )


def test_csv_has_numbers_in_full_and_nothing_for_none() -> None:
    assert (
        to_csv([{"a": 0.1 + 0.2, "b": None, "c": True}, {"a": 1, "b": 'x,"y"', "c": False}])
        == 'a,b,c\n0.30000000000000004,,true\n1,"x,""y""",false\n'
    )
    assert to_csv([]) == "\n"
    assert to_csv([{"a": 1}, {"b": None, "a": 2}], columns=["a", "b"]) == "a,b\n1,\n2,\n"
