"""No shell line of the documents is unknown to bash, to `lab`, to make or to an old curl, and none is left out."""

import pytest

from app.commands.__main__ import _parser
from tests.shell_blocks import NOT_RUN, REFUSED, RUN, Block, blocks, faults, reason


def test_every_shell_block_is_run_by_a_test_or_named_with_the_reason_why_not() -> None:
    found = list(blocks())
    assert len(found) > 40
    for block in found:
        assert block.document in RUN or reason(block), (
            f"{block.document}: no test runs what begins with {block.first_line!r}: add the document to RUN, or the"
            " block to NOT_RUN with the reason"
        )
    for document, beginning in NOT_RUN:
        assert any(b.document == document and b.text.startswith(beginning) for b in found), (
            beginning
        )
    assert Block(*REFUSED) in found


@pytest.mark.parametrize(
    "block", tuple(blocks()), ids=lambda block: f"{block.document}: {block.first_line[:30]}"
)
def test_bash_lab_make_and_an_old_curl_know_what_a_block_says(block: Block) -> None:
    assert faults(block, _parser()) == []


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
