"""`lab export`: a folder that is whole or not there. What lies in it the tests of the service's route look at."""

import io
import zipfile
from pathlib import Path

import httpx
import pytest

from training_lab import Lab, LabError, Unusable
from training_lab.commands import exporting
from training_lab.commands.running import parser_with

RUN = "run_" + 13 * "1"
FILES = {"network/README.md": b"a card", "network/weights/a.safetensors": b"numbers"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    made = tmp_path / "here"
    made.mkdir()
    return made


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def exported(folder: Path, answer: httpx.Response, *words: str) -> int:
    """Of a service of two lines."""

    def answers(request: httpx.Request) -> httpx.Response:
        run = {"id": RUN, "seed": 4, "status": "succeeded"}
        return (
            answer
            if request.url.path == f"/runs/{RUN}/model.zip"
            else httpx.Response(200, json=run)
        )

    options = parser_with([]).parse_args(["export", RUN, str(folder), *words])
    with Lab("http://other", retries=0, transport=httpx.MockTransport(answers)) as lab:
        return exporting._export(lab, options)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("top", ["network/", ""])
def test_a_network_becomes_a_new_folder_or_fills_an_empty_one(
    is_there: bool, top: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "out"
    if is_there:
        folder.mkdir()
    files = {name.replace("network/", top): content for name, content in FILES.items()}
    assert exported(folder, httpx.Response(200, content=zipped(files))) == 0
    assert (folder / "README.md").read_bytes() == b"a card"
    assert (folder / "weights" / "a.safetensors").read_bytes() == b"numbers"
    assert list(place.iterdir()) == [folder]
    assert capsys.readouterr().err == f"{folder}: 2 files of {RUN}, seed 4\n"


def test_what_is_there_is_kept_and_nothing_is_left_of_what_failed(place: Path) -> None:
    folder = place / "out"
    problem = {"title": "Not yet", "detail": "the run has not succeeded", "code": "conflict"}
    for answer in (
        httpx.Response(409, json=problem),
        httpx.Response(200, content=b"no zip"),
        httpx.Response(200, content=zipped(FILES).replace(b"numbers", b"NUMBERS")),
    ):
        with pytest.raises(LabError):
            exported(folder, answer)
        assert list(place.iterdir()) == []
    folder.mkdir()
    (folder / "mine").write_text("mine")
    for there, said in ((folder, "is there already"), (place / "no" / "out", "is no folder")):
        with pytest.raises(Unusable, match=said):
            exported(there, httpx.Response(200, content=zipped(FILES)))
    assert (folder / "mine").read_text() == "mine"
