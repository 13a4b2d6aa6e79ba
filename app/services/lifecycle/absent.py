"""What is said of a request that names a kind of device which no worker online has."""

from typing import Final

from sqlmodel import Session

from app.services.lifecycle.workers import kind_of_device, online, trouble_of
from app.storage.states import TrainsOn

WHAT: Final = {TrainsOn.CPU.value: "trains on a CPU", TrainsOn.CUDA.value: "has a GPU"}


def absence_of(session: Session, device: str) -> list[str]:
    """A sentence where nobody could begin now with what is to be trained on that `device`, a `DeviceKind`."""
    if device not in WHAT:
        return []
    theirs = [one for one in online(session) if kind_of_device(one.device) == device]
    if any(one.trouble is None for one in theirs):
        return []
    trouble = trouble_of(theirs)
    why = "" if trouble is None else f" that can be used ({trouble})"
    return [
        f"no worker online {WHAT[device]}{why}: with device {device!r} it waits until one is, or until"
        " `lab move ID --device any` sends it elsewhere"
    ]
