"""The client with a service that trains: the blocks of docs/client.md as cells of a notebook, a service that is
killed.
"""

import ast
import asyncio
import inspect
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from tests.e2e.service import Service, wait_until
from training_lab import AsyncLab, Lab

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "client.md").read_text()
SESSIONS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
"""Every block of Python of the page, in its order: they share their names, as cells of a notebook do."""


@pytest.fixture
def lab(service: Service) -> Iterator[Lab]:
    with Lab(str(service.http.base_url)) as lab:
        yield lab


class Shown:
    """What a cell of a notebook has for outputs, in place of IPython's, which is not installed for these tests."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.num_updates = 0

    def display(self, html: str, display_id: bool = False) -> "Shown":
        assert display_id
        self.outputs.append(html)
        return self

    def update(self, html: str) -> None:
        self.outputs[-1] = html
        self.num_updates += 1


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Modules that look as IPython's do to whoever runs in a kernel."""
    shown = Shown()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=shown.display)
    )
    return shown


def test_every_block_of_python_of_the_page_runs_as_it_stands(
    service: Service,
    notebook: Shown,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One after the other, in a folder of its own."""
    monkeypatch.setenv("LAB_URL", str(service.http.base_url))
    monkeypatch.chdir(tmp_path)
    assert len(SESSIONS) >= 6
    names: dict[str, Any] = {}
    for block in SESSIONS:
        if ".frame()." in block and find_spec("pandas") is None:
            continue
        code = compile(block, "docs/client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        awaits = FunctionType(code, names)()
        if inspect.iscoroutine(awaits):
            asyncio.run(awaits)
    printed = capsys.readouterr().out
    assert re.search(r"0\.9\d+ ± 0\.\d+ \(n = 3\)", printed)
    assert "\\begin{tabular}" in printed
    assert (tmp_path / "depth.pdf").read_bytes().startswith(b"%PDF")
    assert names["experiment"]._repr_html_().count("<img") == 1
    assert notebook.outputs
    assert all("<progress" in output for output in notebook.outputs)
    names["lab"].close()


def test_a_network_predicts_and_its_files_are_whole(lab: Lab, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    made = lab.submit(dataset="digits", model={"hidden": [16]}, epochs=3, seeds=2).wait()
    run = made.best_run
    assert run.predict(np.zeros((8, 8), np.uint8), top=2).probabilities.keys()
    assert run.predict({"split": "test", "row": 0}).raw["label"] is not None
    weights = run.weights(tmp_path)
    artifact = next(one for one in run.artifacts() if one.name == "weights.safetensors")
    assert weights.stat().st_size == artifact.size_bytes
    read = load_file(weights)
    state = run.state_dict("numpy")
    assert all(np.array_equal(state[name], read[name]) for name in read.keys() | state.keys())
    assert run.onnx(tmp_path / "a.onnx").stat().st_size > 0
    log = run.log()
    assert "epoch 3/3" in log
    assert list(run.follow_log()) == log.splitlines()
    assert made.confusion("png").content.startswith(b"\x89PNG")
    assert sum(map(sum, made.confusion_matrix()["pooled"]["counts"])) == 2 * 360
    again = made.verify().wait()
    assert again.verification()["agreement"] == "bit_equal"


@pytest.mark.slow
def test_waiting_outlives_a_service_that_is_killed_and_started_again(
    make_service: Callable[..., Service],
) -> None:
    """Blocking, awaited and as a stream, all at once; the API alone is killed, and is back on the same port."""
    service = make_service()
    api = service.api()
    url = f"http://127.0.0.1:{service.port}"
    with Lab(url) as lab:
        made = lab.submit(dataset="digits", model={"hidden": [8]}, epochs=2)
    ended: dict[str, str] = {}

    def wait() -> None:
        with Lab(url) as lab:
            ended["blocking"] = lab.experiment(made.id).wait().status

    async def stream() -> None:
        async with AsyncLab(url) as lab:
            async for event in (await lab.experiment(made.id)).stream():
                ended["stream"] = event.status

    async def awaits() -> None:
        async with AsyncLab(url) as lab:
            ended["awaited"] = (await (await lab.experiment(made.id)).wait()).status

    threads = [
        threading.Thread(target=wait, daemon=True),
        threading.Thread(target=lambda: asyncio.run(stream()), daemon=True),
        threading.Thread(target=lambda: asyncio.run(awaits()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: "stream" in ended, 30, "the stream has begun")
    service.start("worker", "--workers", "1")
    os.kill(api.pid, signal.SIGKILL)
    api.wait()
    service.api()
    for thread in threads:
        thread.join(120)
    assert ended == {"blocking": "succeeded", "awaited": "succeeded", "stream": "succeeded"}
