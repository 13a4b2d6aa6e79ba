"""`lab study` with a real service: a recipe is trained, waited for and reported."""

from pathlib import Path

import pytest

from app.commands.__main__ import main
from tests.e2e.service import Service


def test_lab_study_trains_a_recipe_and_saves_its_report(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--scale",
        "smoke",
        "--seeds",
        "1",
        "--set",
        "dataset.name=digits",
        "--set",
        "dataset.train_limit=200",
        "--set",
        "epochs=1",
    ]
    report = tmp_path / "report.html"
    status = main(
        [
            "study",
            "mlp-depth",
            *small,
            "--wait",
            "--report",
            str(report),
            "--url",
            f"http://127.0.0.1:{service.port}",
        ]
    )
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "| depth | parameters | MACs | n | val accuracy, % | test accuracy, % |" in out
    assert out.count("\n| ") == 7
    assert '- "Deeper networks don\'t always perform better."' in out
    assert "5 of 5 runs done" in err
    assert b"<img " in report.read_bytes()
