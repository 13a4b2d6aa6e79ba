"""A study's table for programs: its rows in full."""

from typing import Any

from app.services.analyses.studies.tables import Table, TableRow
from app.tabulation import to_csv


def csv_of(table: Table) -> str:
    """One row per cell, numbers in full, fractions as fractions, whose intervals end where fractions do."""
    return to_csv(_flat(table, row) for row in table.rows)


def _flat(table: Table, row: TableRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"cell": row.cell.cell.key, "experiment_id": row.cell.experiment.id}
    flat |= {name: row.cell.cell.factors.get(name) for name in table.factors}
    flat |= {
        "network": row.network,
        "parameters": row.parameters,
        "trainable_parameters": row.trainable_parameters,
        "macs_per_sample": row.macs_per_sample,
        "metric": table.metric.name,
    }
    for prefix, summary in (("", row.score), ("val_", row.val)):
        low, high = table.metric.ends_of(summary)
        mean, std, n = (
            (None, None, 0) if summary is None else (summary.mean, summary.std, summary.n)
        )
        flat |= {
            f"{prefix}mean": mean,
            f"{prefix}std": std,
            f"{prefix}n": n,
            f"{prefix}ci95_low": low,
            f"{prefix}ci95_high": high,
        }
    flat |= {"seconds": row.seconds, "chosen_epoch": row.chosen_epoch, "last_epoch": row.last_epoch}
    source = row.published
    flat |= {
        "source_value": source and source.value,
        "source_inside_ci95": source and source.inside_ci95,
    }
    return flat | {
        "source_inside_prediction": source and source.inside_prediction,
        "dataset": row.dataset,
        **vars(row.counts),
        "same_as": row.cell.same_as,
    }
