"""A spec in one line for people."""

from collections.abc import Mapping
from typing import Any

from training_lab.commands.output import count, value_text
from training_lab.documents import by_path

BESIDE = ("name", "seeds", "labels", "priority", "device", "notes")
"""What a request says that is no part of a spec."""


def training_text(spec: Mapping[str, Any]) -> str:
    """`20 epochs, batches of 64, adam at 0.001, cosine, stopped early`; what a spec does not say is left out."""
    optimizer, schedule = spec.get("optimizer") or {}, spec.get("schedule") or {}
    parts = [
        "" if spec.get("kind") in (None, "train") else str(spec["kind"]),
        count(spec["epochs"], "epoch") if spec.get("epochs") else "",
        f"batches of {spec['batch_size']}" if spec.get("batch_size") else "",
        f"{optimizer['name']} at {optimizer.get('learning_rate')}" if optimizer.get("name") else "",
        "" if schedule.get("name") in (None, "constant") else str(schedule["name"]),
        "stopped early" if spec.get("early_stopping") else "",
    ]
    return ", ".join(part for part in parts if part)


def asked_text(submitted: Mapping[str, Any]) -> str:
    """`model=mlp epochs=20`: what was said beyond the defaults."""
    spec = {name: value for name, value in submitted.items() if name not in BESIDE}
    return " ".join(f"{path}={value_text(value)}" for path, value in by_path(spec).items() if path)
