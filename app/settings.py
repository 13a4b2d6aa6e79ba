"""Where things are and how much is allowed: a frozen object built at the doors and handed in."""

import os
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment (prefix `LAB_`) or a `.env` file. The environment says where; the spec says what."""

    model_config = SettingsConfigDict(env_prefix="LAB_", env_file=".env", frozen=True, extra="ignore", use_attribute_docstrings=True)

    home: Path = Path(".lab")
    """Folder for the database, artifacts and data sets."""
    data_dir: str = ""
    """Folders searched for data sets, separated by `:`; empty means `$LAB_HOME/datasets`."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in `$LAB_HOME/lab.sqlite3`."""
    broker_url: str = ""
    """`redis://…` for workers on several machines; empty means the embedded broker."""
    devices: str = "auto"
    """`auto`, `cpu`, or a list such as `cuda:0,cuda:1`, dealt out to the workers in turn."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of one trainer; 0 means one for an MLP and the machine's cores for convolutions."""
    lease_seconds: float = Field(default=15.0, gt=0)
    """A run whose worker gave no sign of life for this long goes back to the queue."""
    stop_grace_seconds: float = Field(default=20.0, gt=0)
    """How long a trainer may take to save itself at a shutdown before it is killed."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Longest time between two checkpoints within an epoch; one is taken after every epoch anyway."""
    ring_seconds: float = Field(default=5.0, gt=0)
    """With Redis: how often an idle worker rings again while runs are queued."""
    max_crashes: int = Field(default=3, ge=1)
    """A run that took its trainer or worker down this often ends as failed, with code `crash_loop`."""
    max_body_bytes: int = Field(default=1_000_000, ge=1000)
    """Largest request body."""
    max_upload_bytes: int = Field(default=2_000_000_000, ge=1000)
    """Largest zip of images in `PUT /datasets/{name}`; it may unpack to five times as much."""
    max_image_bytes: int = Field(default=20_000_000, ge=1000)
    """Largest image in `POST /runs/{run_id}/predict`; it may have up to 50 megapixels."""
    max_images: int = Field(default=500_000, ge=4)
    """Most images of one imported data set."""
    max_seeds: int = Field(default=100, ge=1)
    """Most seeds of one experiment."""
    max_study_runs: int = Field(default=1000, ge=1)
    """Most runs of one study."""
    max_epochs: int = Field(default=10_000, ge=1)
    """Most epochs of one run."""
    max_parameters: int = Field(default=200_000_000, ge=1)
    """Most parameters of one model."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @property
    def effective_database_url(self) -> str:
        """The database's URL with the default filled in."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'lab.sqlite3'}"

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
    def search_folders(self) -> tuple[Path, ...]:
        """Folders searched for data sets, in order."""
        listed = tuple(Path(part).absolute() for part in self.data_dir.split(os.pathsep) if part)
        return listed or (self.download_folder,)

    @property
    def embedded(self) -> bool:
        """Whether workers ring themselves instead of listening to a broker."""
        return not self.broker_url


def setting_sources() -> dict[str, str]:
    """For each setting: `environment`, `.env` or `default`, as the next `Settings()` would read it."""
    in_file = set()
    env_file = Path(".env")
    if env_file.is_file():
        in_file = {line.partition("=")[0].strip().removeprefix("export ").strip().upper() for line in env_file.read_text().splitlines()}
    return {
        name: "environment" if f"LAB_{name.upper()}" in {key.upper() for key in os.environ} else ".env" if f"LAB_{name.upper()}" in in_file else "default"
        for name in Settings.model_fields
    }
