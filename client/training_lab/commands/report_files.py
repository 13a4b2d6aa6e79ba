"""The file that a study's report is saved as."""

from pathlib import Path

from training_lab.errors import Unusable


def check_place(report: Path, dry_run: bool) -> None:
    """Whether the report can be saved is known before hours of training; raises Unusable."""
    if dry_run:
        raise Unusable(
            "--dry-run runs nothing, so there is no report: leave one of --dry-run and --report out"
        )
    if report.is_dir() or not report.parent.is_dir():
        what = (
            "is a folder"
            if report.is_dir()
            else f"cannot be written: there is no folder {report.parent}"
        )
        raise Unusable(f"{report} {what}; name a file for the report, such as report.html")


def save(content: bytes, report: Path) -> None:
    """Write the report; raises Unusable."""
    try:
        report.write_bytes(content)
    except OSError as error:
        raise Unusable(f"{report}: {error.strerror}") from error
