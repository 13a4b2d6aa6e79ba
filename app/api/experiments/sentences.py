"""An experiment's status as a sentence, for people."""

from typing import Final

from app.services.experiments.how_far import current_run, epoch_begun
from app.services.experiments.situations import Situation
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.quotas import HOUR, WEEK
from app.storage.states import StatusReason, TrainsOn

DEVICES: Final[dict[str, str]] = {TrainsOn.CPU: "on a CPU", TrainsOn.CUDA: "with a GPU (cuda)"}


def sentence(situation: Situation, local_workers: LocalWorkers) -> str:
    """What is happening to it, or what has."""
    runs = situation.runs
    current = current_run(runs)
    which = f", run {current.position + 1} of {len(runs)}" if len(runs) > 1 else ""
    match situation.status_reason:
        case StatusReason.TRAINING:
            return f"Epoch {epoch_begun(current)} of {current.epochs}{which}."
        case StatusReason.EVALUATING:
            ended = f"Training ended after {current.epochs_done} of {current.epochs} epochs"
            return f"{ended}{which}; reading the test split."
        case StatusReason.STARTING:
            return f"Starting on {current.worker_id}{which}."
        case StatusReason.WAITING_FOR_HOURS:
            return _out_of_hours(situation)
        case StatusReason.NO_WORKER_ONLINE:
            return local_workers.absence(situation.unfit)
        case StatusReason.NO_DEVICE_ONLINE:
            where = next(DEVICES[run.trains_on] for run in runs if run.trains_on in DEVICES)
            return (
                f"Queued for a worker {where}, and none is online; `lab move ID --device any`, or PATCH"
                ' {"device": "any"}, lets any worker train it.'
            )
        case StatusReason.WAITING_FOR_WORKER:
            ahead = 0 if situation.place is None else situation.place.ahead
            return (
                "Next in the queue."
                if ahead == 0
                else f"Queued behind {ahead} run{'s' if ahead > 1 else ''}."
            )
        case StatusReason.WAITING_FOR_TEACHER:
            return f"Queued until run {current.needs}, which it builds on, has succeeded."
        case StatusReason.WORKER_LOST:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker was lost."
        case StatusReason.WORKER_SHUTDOWN:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker was asked to stop."
        case StatusReason.DATABASE_UNREACHABLE:
            return (
                f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker could not reach the"
                " database."
            )
        case StatusReason.TRAINER_CRASHED:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its process died."
        case StatusReason.OUT_OF_MEMORY:
            return (
                f"Queued again after epoch {current.epochs_done} of {current.epochs}: memory ran out; it goes on with"
                " fewer images at a time, or with all of the GPU's memory."
            )
        case StatusReason.CANCELLING:
            return "A cancel was asked for; the worker is about to confirm it."
        case StatusReason.PAUSING:
            return "A pause was asked for; the run is about to save itself and leave."
        case StatusReason.PAUSED_BY_USER:
            return f"Paused after epoch {current.epochs_done} of {current.epochs}{which}; resume it to go on."
        case StatusReason.COMPLETED:
            return "All epochs done." if len(runs) == 1 else f"All {len(runs)} runs done."
        case StatusReason.REUSED:
            return (
                "Took over the results of an equal run."
                if len(runs) == 1
                else f"All {len(runs)} runs done, some taken over from equal runs."
            )
        case StatusReason.EARLY_STOPPED:
            return (
                f"Stopped early after epoch {current.epochs_done} of {current.epochs}."
                if len(runs) == 1
                else f"All {len(runs)} runs done, the first stopped early."
            )
        case StatusReason.TRAINING_FAILED | StatusReason.CRASH_LOOP | StatusReason.TEACHER_FAILED:
            failed = next(run for run in runs if run.error is not None)
            return f"Failed: {failed.error['message']}" if failed.error else "Failed."
        case StatusReason.CANCELLED_BY_USER:
            return "Cancelled."


def _out_of_hours(situation: Situation) -> str:
    spent, owner = situation.out_of_hours, situation.owner
    if spent is None:
        return f"Queued: {owner} has trained as many hours as they may."
    return (
        f"Queued: {owner} has trained {spent.seconds / HOUR:.1f} of {spent.limit / HOUR:g} hours in {WEEK} days, so it"
        f" starts on {spent.until} at the earliest, unless an admin allows more: `lab keys quota {owner} --hours …`."
    )
