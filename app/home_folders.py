"""What lies where in a home."""

from pathlib import Path


class HomeFolders:
    """The folders of the home that `home` names."""

    home: Path

    @property
    def runs_folder(self) -> Path:
        """Where each run has its folder."""
        return self.home.absolute() / "runs"

    @property
    def prepared_folder(self) -> Path:
        """Where data sets lie in their compact form."""
        return self.home.absolute() / "prepared"

    @property
    def download_folder(self) -> Path:
        """Where data sets are downloaded to."""
        return self.home.absolute() / "datasets"

    @property
    def imported_folder(self) -> Path:
        """Where people's own data sets lie, ready for training."""
        return self.home.absolute() / "imported"

    @property
    def archives_folder(self) -> Path:
        """Where teachers' stored outputs lie."""
        return self.home.absolute() / "archives"

    @property
    def cards_folder(self) -> Path:
        """Where the workers of each machine that share a GPU tell each other who has it."""
        return self.home.absolute() / "cards"

    @property
    def onnx_folder(self) -> Path:
        """Where networks lie that were asked for as ONNX files; each can be made again."""
        return self.home.absolute() / "onnx"

    @property
    def trackers_folder(self) -> Path:
        """Where it is noted what trackers have, and where TensorBoard's files lie."""
        return self.home.absolute() / "trackers"
