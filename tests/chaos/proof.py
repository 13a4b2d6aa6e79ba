"""What must hold when the faults are over."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from app.storage.states import LEGAL_MOVES, RETRYABLE, RunStatus
from tests.chaos.stack import Stack

Weights = dict[tuple[str, int], dict[str, str]]
"""SHA-256 of the weight files, by what was trained and with which seed."""


@dataclass
class Proof:
    """What was found wrong, and what was counted."""

    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: list[int] = field(default_factory=list)
    notes: int = 0
    compared: int = 0

    def require(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.wrong.append(what)


def prove(
    stack: Stack,
    submitted: dict[str, str],
    cancelled: set[str],
    undisturbed: Weights,
    epochs: dict[str, int],
) -> Proof:
    """`submitted` says of each accepted experiment's id which spec it has; `cancelled` are those that somebody has
    cancelled.
    """
    proof = Proof()
    for experiment_id, spec in submitted.items():
        answer = stack.ask("GET", f"/experiments/{experiment_id}")
        if answer.status_code != 200:
            proof.wrong.append(f"{experiment_id} was accepted and is lost: {answer.status_code}")
            continue
        record = answer.json()
        for position, run in enumerate(record["runs"]):
            _prove_run(
                proof, stack.ask("GET", f"/runs/{run['id']}").json(), experiment_id in cancelled
            )
            if run["status"] == RunStatus.SUCCEEDED:
                table = stack.ask("GET", f"/experiments/{experiment_id}/metrics").json()["runs"][
                    position
                ]["epochs"]
                proof.require(
                    [epoch["epoch"] for epoch in table] == list(range(1, epochs[spec] + 1)),
                    f"{run['id']}: metrics have a gap or a double",
                )
                proof.require(
                    all(len(epoch["train"]) == len(table[0]["train"]) for epoch in table),
                    f"{run['id']}: an epoch lacks numbers",
                )
                proof.require(
                    weights_of(stack, run["id"]) == undisturbed[spec, run["seed"]],
                    f"{run['id']} ({spec}, seed {run['seed']}): other bits",
                )
                proof.compared += 1
    listed = _listed(stack)
    proof.require(listed >= set(submitted), f"not in the list: {set(submitted) - listed}")
    if stack.cluster is None:
        with sqlite3.connect(stack.service.home / "lab.sqlite3") as connection:
            proof.require(
                connection.execute("PRAGMA integrity_check").fetchone() == ("ok",),
                "SQLite's integrity check fails",
            )
    return proof


def weights_of(stack: Stack, run_id: str) -> dict[str, str]:
    """SHA-256 by name."""
    artifacts = stack.ask("GET", f"/runs/{run_id}/artifacts").json()["data"]
    return {
        artifact["name"]: artifact["sha256"]
        for artifact in artifacts
        if artifact["name"].endswith(".safetensors") and "weights" in artifact["name"]
    }


def _prove_run(proof: Proof, run: dict[str, Any], may_be_cancelled: bool) -> None:
    name, status = run["id"], RunStatus(run["status"])
    proof.statuses[status] += 1
    proof.require(
        status is RunStatus.SUCCEEDED or (status is RunStatus.CANCELLED and may_be_cancelled),
        f"{name} is {status}: {run['error']}",
    )
    outcomes = [attempt["outcome"] for attempt in run["attempts"]]
    proof.outcomes.update(outcomes)
    proof.attempts.append(len(outcomes))
    proof.notes += sum(len(attempt["notes"]) for attempt in run["attempts"])
    completed = sum(outcome in ("completed", "early_stopped") for outcome in outcomes)
    proof.require(
        completed == (status is RunStatus.SUCCEEDED),
        f"{name} was carried out to its end {completed} times: {outcomes}",
    )
    proof.require(
        [attempt["number"] for attempt in run["attempts"]] == list(range(1, run["attempt"] + 1)),
        f"{name}: attempts are not numbered through",
    )
    stands: str | None = None
    for change in run["history"]:
        before, after = change["from_status"], RunStatus(change["to_status"])
        proof.require(before == stands, f"{name}: its history has a gap at {change}")
        undone = before in RETRYABLE and after is RunStatus.QUEUED
        proof.require(
            before is None or undone or after in LEGAL_MOVES[RunStatus(before)],
            f"{name}: {before} -> {after} is no legal move",
        )
        stands = after
    proof.require(stands == status, f"{name}: its history ends at {stands} and it is {status}")


def _listed(stack: Stack) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        page = stack.ask("GET", f"/experiments?limit=500{cursor}").json()
        found |= {row["id"] for row in page["data"]}
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
