"""Tables as text."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    [-1, -0.5, "-1", "+1.5", "-.5e-10", "1e5", "mlp 2 x 32", "a=b", "depth=2", "'=1", "", "±1"],
)
def test_numbers_and_other_texts_are_written_as_they_are(value: object) -> None:
    assert csv_cell(value) == value


@EXAMPLES
@given(st.text())
def test_no_text_is_written_so_that_a_spreadsheet_computes_it(text: str) -> None:
    written = csv_cell(text)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert written in (plain, "'" + plain)
    if written and written[0] in "=+-@\t\n":
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


def test_csv_has_numbers_in_full_and_nothing_for_none() -> None:
    assert (
        to_csv([{"a": 0.1 + 0.2, "b": None, "c": True}, {"a": 1, "b": 'x,"y"', "c": False}])
        == 'a,b,c\n0.30000000000000004,,true\n1,"x,""y""",false\n'
    )
    assert to_csv([]) == "\n"
    assert to_csv([{"a": 1}, {"b": None, "a": 2}], columns=["a", "b"]) == "a,b\n1,\n2,\n"
