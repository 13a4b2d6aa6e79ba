"""Ids that a shell completes: the newest of the service, at once and without a word on standard error."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.client.test_commands_login import main_output
from tests.client.test_objects import DIGITS
from training_lab import Lab, recent_ids

pytestmark = pytest.mark.sqlite


def test_the_newest_are_asked_once_in_five_seconds_and_kept_for_their_owners_eyes(
    lab: Lab, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_URL", url)
    first = lab.submit(DIGITS, name="first")
    study = lab.study_of(spec=DIGITS, vary={"epochs": [1, 2]})
    lines = recent_ids.recent_ids()
    assert [line.partition("\t")[0] for line in lines[:2]] == ["@last", "@last-study"]
    assert f"{first.id}\tqueued first" in lines
    assert any(line.startswith(f"{study.id}\tqueued") for line in lines)
    path = recent_ids.cache_path(url, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    later = lab.submit(DIGITS)
    assert recent_ids.recent_ids() == lines, "as it is kept"
    old = time.time() - 2 * recent_ids.KEPT_SECONDS
    os.utime(path, (old, old))
    assert any(line.startswith(later.id) for line in recent_ids.recent_ids())
    assert recent_ids.cache_path(url, "lab_other") != path


def test_a_service_that_is_away_is_nothing_to_complete_and_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_URL", "http://127.0.0.1:9")
    assert recent_ids.print_ids() == 0
    monkeypatch.setenv("LAB_URL", "no address")
    assert recent_ids.print_ids() == 0
    assert capsys.readouterr() == ("", "")


def test_bash_completes_them_where_an_id_stands_and_what_is_kept_needs_no_http(
    lab: Lab, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_URL", url)
    made = lab.submit(DIGITS)
    recent_ids.recent_ids()
    program = (
        "import sys; from training_lab.__main__ import main; main();"
        " print('httpx' in sys.modules, file=sys.stderr)"
    )
    script = tmp_path / "lab"
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "{program}" "$@" 2>> "{tmp_path}/said"\n'
    )
    script.chmod(0o755)

    def offered(*words: str) -> list[str]:
        asked = f"COMP_WORDS=({' '.join([str(script), *words])}); COMP_CWORD={len(words)};"
        text = main_output(["completion", "bash"])
        done = subprocess.run(
            [
                "bash",
                "--norc",
                "-c",
                f"{text}\ncompopt() {{ :; }}; {asked} _lab; echo ${{COMPREPLY[@]}}",
            ],
            check=True,
            capture_output=True,
            text=True,
            cwd=os.environ["XDG_CONFIG_HOME"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert offered("show", "exp_") == [made.id]
    assert (tmp_path / "said").read_text() == "False\n"
    assert "--json" in offered("show", "--")
    assert len((tmp_path / "said").read_text().splitlines()) == 1, "nobody asks for ids there"
    assert made.id in offered("cancel", made.id[:6], "exp_")
    assert offered("serve", "exp_") == []
    assert "lab --complete-ids" in main_output(["completion", "fish"])
    assert "--complete-ids" in main_output(["completion", "zsh"])
