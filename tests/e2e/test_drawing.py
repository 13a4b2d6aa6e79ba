"""Pictures of a real service while the process that draws them, or the service, is killed, hung or stopped."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service, command_of, is_alive, parent_of, wait_until

QUEUED = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 3}


class Drawing:
    """An API without workers, pictures of an experiment that waits, and the process that draws them."""

    def __init__(self, service: Service) -> None:
        self.service, self.api = service, service.api()
        self.experiment = service.submit(QUEUED)["id"]

    @property
    def pid(self) -> int:
        found = [pid for pid in self.service.lab_pids() if "app.plots" in command_of(pid)]
        # to no other number may a signal be sent
        assert len(found) == 1, f"{len(found)} processes draw: {found}"
        return found[0]

    def picture(self, metric: str) -> bytes:
        """Each metric is a picture of its own, so that none is kept."""
        answer = self.service.http.get(
            f"/experiments/{self.experiment}/curves.png?metric={metric}", timeout=60
        )
        assert answer.status_code == 200, answer.text
        return answer.content


@pytest.fixture
def drawing(make_service: Callable[..., Service]) -> Drawing:
    return Drawing(make_service())


def test_the_process_that_draws_is_killed_between_and_within_pictures_and_none_is_missed(
    drawing: Drawing,
) -> None:
    drawing.picture("loss")
    first = drawing.pid
    assert parent_of(first) == drawing.api.pid
    os.kill(first, signal.SIGKILL)
    assert drawing.picture("accuracy").startswith(b"\x89PNG")
    second = drawing.pid
    os.kill(second, signal.SIGSTOP)
    got: list[bytes] = []
    asking = threading.Thread(target=lambda: got.append(drawing.picture("seconds")))
    asking.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert drawing.service.http.get(
        f"/experiments/{drawing.experiment}"
    ).is_success  # nothing else waits for it
    assert time.monotonic() - began < 2
    assert not got
    os.kill(second, signal.SIGKILL)
    asking.join(30)
    assert got[0].startswith(b"\x89PNG")
    assert drawing.pid not in (first, second)
    assert "Traceback" not in drawing.service.read_log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_stop_while_a_picture_is_drawn_takes_a_second_and_leaves_nothing(
    drawing: Drawing, number: int, everywhere: bool
) -> None:
    drawing.picture("loss")
    pid = drawing.pid
    os.kill(pid, signal.SIGSTOP)
    ended: list[Any] = []

    def ask() -> None:
        try:
            ended.append(
                drawing.service.http.get(
                    f"/experiments/{drawing.experiment}/curves.png?metric=accuracy"
                ).status_code
            )
        except httpx.TransportError as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    began = time.monotonic()
    if everywhere:  # as a supervisor does that tells all processes of a unit
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
    drawing.api.send_signal(number)
    drawing.api.wait(10)
    assert time.monotonic() - began < 4  # one second, and a busy machine
    asking.join(10)
    assert ended
    wait_until(lambda: not is_alive(pid) and not drawing.service.lab_pids(), 5, "nothing is left")
    assert "Traceback" not in drawing.service.read_log()


def test_kill_9_of_the_service_while_a_picture_is_drawn_ends_the_process_that_draws(
    drawing: Drawing,
) -> None:
    drawing.picture("loss")
    pid = drawing.pid
    os.kill(pid, signal.SIGSTOP)
    drawing.api.kill()
    wait_until(lambda: not is_alive(pid), 5, "the process that draws has ended")
    drawing.api.wait()
