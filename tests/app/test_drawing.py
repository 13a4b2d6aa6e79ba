"""Pictures from a process of their own: the same bytes, and what happens when it dies, hangs, grows or has a fault."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from app.errors import Busy
from app.plots.appearance import USUAL, Appearance, PictureSize, Theme
from app.plots.artists import Artist, Artists, DrawingFailed, Drawn
from app.plots.drawing import draw
from app.plots.pictures.experiments.curves import draw_curves
from tests.app.test_plots import figure
from tests.e2e.service import is_alive, wait_until

pytestmark = pytest.mark.sqlite  # pictures


@pytest.fixture(scope="module")
def artist() -> Iterator[Artist]:
    """One whose process may be killed: another is started."""
    artist = Artist()
    yield artist
    artist.close()


def stopped(artist: Artist) -> int:
    """Its process, which has begun and goes no further."""
    artist.draw(figure(0), "png").result(30)
    assert artist.pid is not None
    os.kill(artist.pid, signal.SIGSTOP)
    return artist.pid


def dies(pid: int) -> None:
    wait_until(lambda: not is_alive(pid), 5, f"process {pid} is gone")


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_a_picture_has_the_bytes_that_it_has_when_it_is_drawn_here(
    artist: Artist, extension: str
) -> None:
    for number in range(3):
        assert artist.draw(figure(number), extension).result(30).picture == draw_curves(
            figure(number), extension
        )


def test_an_appearance_is_that_of_one_picture_and_not_of_the_next(artist: Artist) -> None:
    dark = Appearance(Theme.DARK, PictureSize.SMALL, "another title")
    for wanted in (dark, USUAL, dark):
        drawn = artist.draw(figure(1), "svg", wanted).result(30).picture
        assert drawn == draw(figure(1), "svg", wanted)


def test_what_a_picture_took_of_a_core_is_told(artist: Artist) -> None:
    few, many = (
        min(artist.draw(figure(1, epochs), "svg").result(60).seconds for _ in range(2))
        for epochs in (5, 50_000)
    )
    assert 0.005 < few < many < 60


def test_the_process_gives_way_and_lies_in_a_session_of_its_own(artist: Artist) -> None:
    artist.draw(figure(1), "png").result(30)
    assert artist.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, artist.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getsid(artist.pid) == artist.pid  # no Ctrl-C for the service reaches it


def test_kill_9_between_two_pictures_costs_nothing_but_a_start(artist: Artist) -> None:
    first = artist.draw(figure(1), "png").result(30).picture
    assert artist.pid is not None
    os.kill(artist.pid, signal.SIGKILL)
    assert artist.draw(figure(1), "png").result(30).picture == first


def test_kill_9_while_a_picture_is_drawn_has_it_drawn_again(artist: Artist) -> None:
    pid = stopped(artist)
    drawing = artist.draw(figure(2), "png")
    time.sleep(0.1)
    assert not drawing.done()
    os.kill(pid, signal.SIGKILL)
    assert drawing.result(30).picture == draw_curves(figure(2), "png")
    assert artist.pid != pid


def test_a_picture_that_ends_its_process_twice_is_refused_and_the_next_one_is_drawn(
    artist: Artist,
) -> None:
    pid = stopped(artist)
    drawing = artist.draw(figure(2), "png")
    os.kill(pid, signal.SIGKILL)
    second = wait_until(
        lambda: artist.pid not in (pid, None) and artist.pid, 10, "another process is started"
    )
    os.kill(second, signal.SIGKILL)
    with pytest.raises(Busy, match="twice"):
        drawing.result(30)
    assert artist.draw(figure(1), "png").result(30)


def test_a_picture_that_takes_too_long_is_given_up_and_its_process_ended(
    artist: Artist, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = stopped(artist)
    with monkeypatch.context() as patch:
        patch.setattr(artist, "_deadline_seconds", 0.1)
        with pytest.raises(Busy, match="not drawn within"):
            artist.draw(figure(1), "png").result(30)
    dies(pid)
    assert artist.draw(figure(1), "png").result(30)


def test_where_no_process_can_be_started_pictures_are_refused_and_later_drawn(
    artist: Artist, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = stopped(artist)
    os.kill(pid, signal.SIGKILL)
    dies(pid)
    with monkeypatch.context() as patch:
        patch.setattr("app.plots.artists.sys.executable", "/nowhere")
        with pytest.raises(Busy, match="can be started"):
            artist.draw(figure(1), "png").result(30)
    assert artist.draw(figure(1), "png").result(30)


def test_a_fault_of_the_drawing_code_is_raised_here_and_its_process_goes_on(artist: Artist) -> None:
    artist.draw(figure(1), "png").result(30)
    pid = artist.pid
    with pytest.raises(DrawingFailed, match="KeyError"):
        artist.draw("not a figure", "png").result(30)
    assert artist.draw(figure(1), "png").result(30)
    assert artist.pid == pid


@pytest.mark.parametrize("bound", ["_most_pictures", "_most_bytes"])
def test_a_process_that_has_drawn_many_or_has_grown_is_replaced(
    artist: Artist, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artist.draw(figure(1), "png").result(30)
    pid = artist.pid
    with monkeypatch.context() as patch:
        patch.setattr(artist, bound, 1)
        artist.draw(figure(1), "png").result(30)
    wait_until(lambda: artist.pid not in (pid, None), 10, "another process is started")
    assert artist.draw(figure(1), "png").result(30)


@pytest.mark.parametrize("draws", [False, True])
def test_the_end_waits_for_no_picture(draws: bool) -> None:
    artists = Artists(1)
    pid = stopped(artists.artists[0])
    drawing = artists.draw(figure(1), "png") if draws else None
    began = time.monotonic()
    artists.close()
    assert time.monotonic() - began < 0.5
    dies(pid)
    if drawing is not None:
        with pytest.raises(Busy, match="stops"):
            drawing.result(1)
    with pytest.raises(Busy, match="stops"):
        artists.draw(figure(1), "png")


def test_kill_9_of_the_service_ends_it_even_while_it_draws() -> None:
    program = (
        "import time; from app.plots.artists import Artist; artist = Artist(); artist.draw(None, 'png').exception();"
        " print(artist.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    dies(pid)


class Noted(Artist):
    """Notes what it is asked for; is idle until then."""

    def draw(self, figure: Any, extension: str, appearance: Appearance = USUAL) -> "Future[Drawn]":
        self._latest = Future()
        return self._latest


def test_pictures_go_to_whichever_is_idle() -> None:
    artists = Artists(0)
    first, second = artists.artists = [Noted(), Noted()]
    given = [artists.draw("one", "png"), artists.draw("another", "png")]
    assert given == [first._latest, second._latest]
    given[1].set_result(Drawn(b"", 0.0))
    assert artists.draw("a third", "png") is second._latest
    artists.close()
