"""The page of the labs' claims says what its archives hold, and an archive holds a study as it was."""

from pathlib import Path

import pytest

from app.services.studies import studies
from app.settings import Settings
from app.storage.db import open_database
from benchmarks.claims import archive
from benchmarks.claims.__main__ import PAGE, archives
from benchmarks.claims.page import page


@pytest.mark.sqlite
def test_the_page_is_what_the_archives_say() -> None:
    assert PAGE.read_text() == page(archives()), "run: python -m benchmarks.claims page"


@pytest.mark.sqlite
def test_an_archive_that_is_put_in_and_written_again_says_the_same(tmp_path: Path) -> None:
    before = archive.read(archives()[0])
    database = open_database(Settings(home=tmp_path, database_url="", _env_file=None))
    try:
        with database.writing() as session:
            study_id = archive.put_in(session, before).id
        with database.reading() as session:
            again = tmp_path / "again.json.xz"
            again.write_bytes(archive.written(session, studies.get(session, study_id)))
    finally:
        database.close()
    after = archive.read(again)
    assert after["metrics"] == before["metrics"]
    for kind in ("experiments", "runs"):
        for old, new in zip(before[kind], after[kind], strict=True):
            assert {name: new[name] for name in old} == old  # later versions have more columns


@pytest.mark.sqlite
def test_a_study_that_goes_on_has_no_archive(tmp_path: Path) -> None:
    document = archive.read(archives()[0])
    document["runs"][0]["finished_at"] = None
    database = open_database(Settings(home=tmp_path, database_url="", _env_file=None))
    try:
        with database.writing() as session:
            study = archive.put_in(session, document)
            with pytest.raises(ValueError, match=r"1 runs of .* have not ended"):
                archive.written(session, study)
    finally:
        database.close()
