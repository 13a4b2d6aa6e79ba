"""Tables as text."""

from app.tabulation import Column, to_csv, to_latex, to_markdown

COLUMNS = [Column[dict[str, object]]("a_b", lambda row: str(row["a"])), Column[dict[str, object]]("n, %", lambda row: str(row["n"]), is_number=True)]


def test_a_bar_or_a_line_break_cannot_break_a_markdown_table() -> None:
    assert to_markdown(COLUMNS, [{"a": "x|y\nz", "n": 1}]) == "| a_b | n, % |\n| --- | ---: |\n| x/y z | 1 |\n"


def test_latex_takes_no_character_for_a_command() -> None:
    text = to_latex(COLUMNS, [{"a": r"50 % of \x_{1} & #~^$", "n": "1 ± 2"}], caption="100 % & more")
    assert r"50 \% of \textbackslash{}x\_\{1\} \& \#\textasciitilde{}\textasciicircum{}\$ & 1 $\pm$ 2 \\" in text
    assert r"\caption{100 \% \& more}" in text
    assert r"\begin{tabular}{lr}" in text


def test_csv_has_numbers_in_full_and_nothing_for_none() -> None:
    assert to_csv([{"a": 0.1 + 0.2, "b": None, "c": True}, {"a": 1, "b": 'x,"y"', "c": False}]) == 'a,b,c\n0.30000000000000004,,true\n1,"x,""y""",false\n'
    assert to_csv([]) == "\n"
