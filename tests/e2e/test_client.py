"""The client with a service that trains: the blocks of docs/client.md as cells of a notebook, a service that is
killed.
"""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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


def test_the_notebook_of_an_experiment_runs_and_repeats_its_numbers(
    service: Service, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key in it, by the address alone that the environment has."""
    monkeypatch.setenv("LAB_URL", str(service.http.base_url))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    name = 'a "name", = < *and* more'
    made = lab.submit(dataset="digits", model="mlp", epochs=2, seeds=2, name=name).wait()
    text = service.http.get(f"/experiments/{made.id}/notebook.ipynb").text
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.data for output in outputs if "data" in output]
    assert f"{made.results['test']['accuracy'].mean:.6f}" in shown[1]["text/plain"]
    assert f"{made.results['test']['accuracy'].mean:.6f}" in shown[2]["text/plain"]
    assert any("image/png" in data for data in shown)


def test_every_block_of_python_of_the_page_is_a_cell_that_runs(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other in one notebook, in a folder of its own."""
    monkeypatch.setenv("LAB_URL", str(service.http.base_url))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert len(SESSIONS) >= 6
    cells = [nbformat.v4.new_code_cell(block) for block in [*SESSIONS, "experiment"]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.search(r"0\.9\d+ ± 0\.\d+ \(n = 3\)", printed)
    assert "\\begin{tabular}" in printed
    assert (tmp_path / "depth.pdf").read_bytes().startswith(b"%PDF")
    shown = [
        output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})
    ]
    *bars, last = shown
    assert len(bars) >= 4, "each wait is one output"
    assert all("<progress" in bar for bar in bars)
    assert last.count("<img") == 1


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
