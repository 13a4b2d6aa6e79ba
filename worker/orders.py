"""What a worker hands over: from a run's task to the order that its trainer is given."""

from app.services.experiments.tasks import Task
from app.services.lifecycle import Lease
from lab_models.training.protocol import Folders, Order
from worker.slot import Slot


def make_order(slot: Slot, lease: Lease, task: Task, threads: int) -> Order:
    """The order for one attempt in this slot."""
    settings = slot.settings
    return Order(
        spec=task.spec,
        seed=task.seed,
        run_folder=settings.runs_folder / lease.run_id,
        attempt=lease.attempt,
        folders=Folders(
            search=settings.search_folders,
            download=settings.download_folder,
            prepared=settings.prepared_folder,
            imported=settings.imported_folder,
            archives=settings.archives_folder,
        ),
        device="cpu" if slot.device == "cpu" else "cuda:0",  # it sees its own card alone
        threads=settings.threads or threads,
        micro_batches=task.micro_batches,
        memory_fraction=slot.card.fraction,
        checkpoint_seconds=settings.checkpoint_seconds,
        min_free_bytes=settings.min_free_bytes,
        resume=task.resume,
        foundation=task.foundation,
    )
