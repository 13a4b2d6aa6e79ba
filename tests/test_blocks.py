"""No block of the documents is unknown to bash or Python, to `lab`, to make or to an old curl, and none is left out."""

import pytest

from app.commands.__main__ import _parser
from tests.blocks import (
    NOT_RUN,
    REFUSED,
    ROOT,
    RUN_BY,
    Block,
    blocks,
    faults,
    inline_commands,
    printed_as_said,
    reason,
    runner,
    unknown_words,
)

BLOCKS_NOT_RUN = 37


def test_every_block_is_run_by_a_test_or_named_with_the_reason_why_not() -> None:
    found = list(blocks())
    for block in found:
        assert runner(block) or reason(block), (
            f"{block.document}: no test runs what begins with {block.first_line!r}: add the document to RUN or"
            " RUN_BY, or the block to NOT_RUN with the reason"
        )
    for document, beginning in NOT_RUN:
        assert any(b.document == document and b.text.startswith(beginning) for b in found), (
            beginning
        )
    for (document, _), test in RUN_BY.items():
        assert document.rpartition("/")[2] in (ROOT / test).read_text()
    assert Block(*REFUSED) in found


def test_most_blocks_are_run() -> None:
    """A block more that is not run changes this number, and somebody sees it."""
    found = list(blocks())
    not_run = [block for block in found if runner(block) is None]
    assert len(found) >= 120
    assert len(not_run) == BLOCKS_NOT_RUN
    assert {block.language for block in not_run} == {"bash"}


def test_only_what_a_block_prints_stands_below_it() -> None:
    """An output that belongs to no block is compared with nothing."""
    for path in (ROOT / "docs").rglob("*.md"):
        document = str(path.relative_to(ROOT))
        said = [block for block in blocks() if block.document == document and block.output]
        assert path.read_text().count("```text output\n") == len(said), document


@pytest.mark.parametrize(
    ("said", "printed", "is_so"),
    [
        ("a 0.9…\nb", "a 0.93\n  b\n", True),
        ("a 0.9…\nb", "a 0.83\nb", False),
        ("a", "a b", False),
        ("…b", "a b", True),
        ("a …", "a ", True),
        ("(x) …", "(x) 1", True),
    ],
)
def test_an_output_is_compared_but_for_what_is_left_out(
    said: str, printed: str, is_so: bool
) -> None:
    assert printed_as_said(said, printed) is is_so


@pytest.mark.parametrize(
    "document", sorted({block.document for block in blocks()}), ids=lambda document: document
)
def test_bash_lab_make_and_an_old_curl_know_what_a_block_says(document: str) -> None:
    for block in blocks():
        if block.document == document:
            assert faults(block, _parser()) == [], block.first_line


def test_every_command_that_a_text_names_is_one_with_these_options() -> None:
    """`lab keys quota --hours` within a sentence or a table; what is a placeholder is passed over."""
    named = list(inline_commands())
    assert len(named) > 100
    assert [said for one in named if (said := unknown_words(one, _parser()))] == []
    wrong = Block("docs/any.md", "lab keys quote --hours 3")
    assert (
        unknown_words(wrong, _parser()) == "docs/any.md: lab keys quote --hours 3: no command quote"
    )
    wrong = Block("docs/any.md", "lab keys quota --hour 3 ID [--again]")
    assert "no option --hour, --again" in unknown_words(wrong, _parser())


def test_what_is_wrong_in_a_block_is_found() -> None:
    def said(text: str) -> str:
        return "\n".join(faults(Block("docs/any.md", text), _parser()))

    assert "syntax error" in said("if true; then\n")
    assert "no such command: lab serv" in said("export A=$(lab serv --port 1)\n")
    assert "no such command: lab keys list --everybody" in said(
        "lab keys list --everybody | wc -l\n"
    )
    assert "no such target: make everything" in said("make lock UPGRADE=1 && make everything\n")
    assert "not of every curl: --json" in said("""curl -s --json '{"a": "-d --no"}' localhost\n""")
    assert said("lab gc --dry-run\nmake test\ncurl -s -d '{}' localhost:8000/experiments\n") == ""
