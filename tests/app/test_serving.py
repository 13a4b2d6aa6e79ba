"""What `lab serve` says on its terminal, and what it keeps of its workers' last words."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.logging import set_up_logging
from app.services.upkeep.holdings import Holdings, holdings_of
from app.serving.banner import Banner
from app.serving.last_words import LastWords
from app.serving.sockets import CannotListen, listening
from app.storage.db import Database
from tests.app.rows import create

ON_CPU = ("cpu", "cpu")


@pytest.fixture
def banner() -> Iterator[Banner]:
    with listening("127.0.0.1", 0) as sockets:
        yield Banner(sockets, Path("/home/ann/.lab"), Holdings(0, 0, 0), ON_CPU, needs_keys=False)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_banner_says_where_with_what_and_what_next_at_80_columns(
    banner: Banner, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("INFO")
    banner.announce("text")
    said = capsys.readouterr()
    port = banner.sockets[0].getsockname()[1]
    assert said.err == ""
    assert f"http://127.0.0.1:{port}/docs" in said.out
    assert "/home/ann/.lab\n           0 experiments\n" in said.out
    assert "2 on cpu; starting" in said.out
    assert (
        f'curl -d \'{{"model": "mlp", "dataset": "digits"}}\' \\\n             {banner.url}'
        in said.out
    )
    assert "key" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_banner_of_a_home_that_has_something_counts_it(banner: Banner) -> None:
    full = replace(banner, holdings=Holdings(1200, 1, 3), needs_keys=True, devices=())
    text = "\n".join(full.lines())
    assert "1,200 experiments, 1 run under way, 3 runs queued" in text
    assert "lab keys create NAME" in text
    assert "lab worker starts some" in text
    assert "lab recipes" in text


def test_the_first_command_has_a_key_where_one_is_needed(banner: Banner) -> None:
    lines = replace(banner, needs_keys=True).lines()
    assert '             -H "Authorization: Bearer $LAB_API_KEY" \\' in lines
    assert max(map(len, lines)) <= 80


def test_workers_of_another_service_in_the_same_home_are_said(banner: Banner) -> None:
    """Who started a second one on another port by mistake was told nothing, and had twice the workers."""
    text = "\n".join(replace(banner, holdings=Holdings(1, 0, 0, 2)).lines())
    assert "2 others seen in this home within the last 20 s" in text
    assert "seen in this home" not in "\n".join(banner.lines())


def test_several_devices_are_named_with_how_many_workers_each_has(banner: Banner) -> None:
    text = "\n".join(replace(banner, devices=("cuda:0", "cuda:1", "cuda:0")).lines())
    assert "2 on cuda:0, cuda:1; starting" in text


def test_an_address_of_all_interfaces_is_shown_as_one_that_can_be_opened() -> None:
    with listening("0.0.0.0", 0) as sockets:
        banner = Banner(sockets, Path("/lab"), Holdings(0, 0, 0), (), needs_keys=True)
        assert banner.url == f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        assert "from outside under this machine's name" in banner.lines()[1]


def test_with_logs_for_programs_the_banner_is_one_record(
    banner: Banner, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("INFO", "json")
    banner.announce("json")
    said = capsys.readouterr()
    assert said.out == ""
    record = json.loads(said.err)
    assert record["message"] == f"serving at {banner.url}"
    assert (record["home"], record["experiments"], record["devices"]) == (
        "/home/ann/.lab",
        0,
        ["cpu", "cpu"],
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_that_is_to_be_quiet_has_no_banner(
    banner: Banner, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("WARNING", log_format)
    banner.announce(log_format)
    assert capsys.readouterr() == ("", "")


def test_a_home_is_counted(database: Database) -> None:
    with database.writing() as session:
        create(session, {"dataset": "digits", "seeds": 2})
        create(session, {"dataset": "digits"})
    with database.reading() as session:
        assert holdings_of(session) == Holdings(experiments=2, running=0, queued=3)


def test_a_taken_port_is_one_sentence_with_one_that_is_free() -> None:
    with listening("127.0.0.1", 0) as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(CannotListen) as caught, listening("127.0.0.1", port):
            pass
        said = str(caught.value)
        assert said.startswith(f"port {port} is taken (by another lab serve?): `--port ")
        free = int(said.split("`--port ")[1].split("`")[0])
        assert free > port
        with listening("127.0.0.1", free):
            pass


def test_what_cannot_be_listened_on_for_another_reason_says_that() -> None:
    with (
        pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:8000: "),
        listening("192.0.2.1", 8000),
    ):
        pass


def spoken(code: str, capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """A process's last words, and what was passed on."""
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE)
    assert process.stderr is not None
    words = LastWords(process.stderr)
    process.wait()
    return words.said(), capfd.readouterr().err


def test_all_that_a_process_says_is_passed_on_and_its_last_line_kept(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said, passed_on = spoken("import nothing_of_this_name", capfd)
    assert said == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert passed_on.startswith("Traceback")
    assert passed_on.endswith(f"{said}\n")


def test_of_a_log_record_the_exception_or_the_message_is_kept(
    capfd: pytest.CaptureFixture[str],
) -> None:
    record = {"message": "it ended", "exception": "Traceback\n  …\nOSError: no room"}
    assert spoken(f"import sys; sys.stderr.write({json.dumps(record)!r})", capfd)[0] == (
        "OSError: no room"
    )
    del record["exception"]
    assert spoken(f"import sys; sys.stderr.write({json.dumps(record)!r})", capfd)[0] == "it ended"


def test_last_words_hold_no_password_and_are_short(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; sys.exit('no postgresql://lab:secret@db/lab ' + 1000 * 'x')"
    said, _ = spoken(code, capfd)
    assert said.startswith("no postgresql://…@db/lab xxx")
    assert len(said) == 300


def test_who_says_nothing_has_no_last_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert spoken("", capfd) == ("", "")


def test_last_words_are_not_waited_for_where_a_grandchild_holds_the_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = LastWords(os.fdopen(os.dup(ours.fileno()), "rb"))
        theirs.sendall(b"the end\n")
        assert words.said() == "the end"
        theirs.shutdown(socket.SHUT_WR)
        words.wait()
