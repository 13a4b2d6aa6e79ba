"""What a notebook shows of an experiment. Every text of the service is escaped: names are written by people."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape

from training_lab.summaries import Summary

STYLE = 'style="border-collapse: collapse; text-align: left"'
COLORS = {"succeeded": "#1a7f37", "failed": "#cf222e", "running": "#0969da"}
"""Each with a contrast of 4.5 on white; other statuses have none."""
SPLITS = ("test", "val", "train", "gap")


def experiment_html(
    title: str,
    status: str,
    message: str,
    url: str,
    results: Mapping[str, Mapping[str, Summary]],
    picture: bytes | None,
) -> str:
    """Status, results, curves and the way to its page. The picture is an image of its own, in which nothing runs."""
    drawn = (
        ""
        if picture is None
        else f'<img alt="curves" style="max-width: 100%" src="data:image/svg+xml;base64,{b64encode(picture).decode()}">'
    )
    return (
        f'<div><p><a href="{escape(url)}" rel="noopener"><b>{escape(title)}</b></a> {status_html(status)}'
        f" {escape(message)}</p>{_results(results)}{drawn}</div>"
    )


def status_html(status: str) -> str:
    """A status in its color."""
    style = f' style="color: {COLORS[status]}"' if status in COLORS else ""
    return f"<b{style}>{escape(status)}</b>"


def bar_html(title: str, fraction: float, message: str) -> str:
    """How far it is."""
    return (
        f'<div>{escape(title)} <progress max="1" value="{min(1.0, max(0.0, fraction)):.4f}"></progress>'
        f" {fraction:.0%} {escape(message)}</div>"
    )


def _results(results: Mapping[str, Mapping[str, Summary]]) -> str:
    shown = [split for split in SPLITS if results.get(split)]
    shown += sorted(set(results) - set(SPLITS))
    rows = "".join(
        f"<tr><td>{escape(split)}</td><td>{escape(name)}</td><td>{escape(str(score))}</td></tr>"
        for split in shown
        for name, score in results[split].items()
        if name in ("accuracy", "loss")
    )
    return f"<table {STYLE}>{rows}</table>" if rows else ""
