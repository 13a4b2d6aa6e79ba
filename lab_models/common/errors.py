"""Why training can fail, each with the stable code that a run's record carries. Nothing here loads torch."""


class LabError(Exception):
    """Base: `code` is stable, the message says what happened, `hint` what to do."""

    code = "internal"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def sentence(self) -> str:
        """What happened and what to do, in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class DatasetUnavailable(LabError):
    """The images are not on disk and could not be downloaded, or what is there is damaged."""

    code = "dataset_unavailable"


class PretrainedUnavailable(DatasetUnavailable):
    """Published weights are not on disk and could not be downloaded, or what is there is damaged."""


class Diverged(LabError):
    """The loss became NaN or infinite."""

    code = "diverged"


class OutOfMemory(LabError):
    """The device's memory is too small for model and batch."""

    code = "out_of_memory"


class DeviceFault(LabError):
    """The device or its driver has failed, which says nothing of the spec: a crash, and another attempt follows."""

    code = "device_fault"


class StorageFull(LabError):
    """A file could not be written because the disk is full."""

    code = "storage_full"


class TeacherUnusable(LabError):
    """The teacher's weights or stored outputs are not those of its record."""

    code = "teacher_failed"


class CheckpointDamaged(LabError):
    """A checkpoint's bytes are not those that were written."""
