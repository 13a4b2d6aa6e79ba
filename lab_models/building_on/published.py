"""The weights of another run, as they were published."""

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lab_models.common.errors import TeacherUnusable
from lab_models.common.files import sha256_of
from lab_models.training.protocol import FoundationFiles


def published_weights(files: FoundationFiles) -> dict[str, Tensor]:
    """The best epoch's weights of the run that is built on; raises TeacherUnusable when they are absent or not the
    recorded ones.
    """
    try:
        if sha256_of(files.weights) != files.sha256:
            raise TeacherUnusable(
                f"the weights of run {files.run_id} are damaged: the SHA-256 is not the recorded one"
            )
        return load_file(files.weights)
    except (OSError, SafetensorError) as error:
        raise TeacherUnusable(
            f"the weights of run {files.run_id} cannot be read: {error}"
        ) from error
