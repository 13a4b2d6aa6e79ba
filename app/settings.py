"""Where things are and how much is allowed: a frozen object built at the doors and handed in."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy import make_url

from app.errors import Misconfigured
from app.home_folders import HomeFolders
from app.home_settings import FoundAbove
from app.whereabouts import ENV_FILE, HOME
from lab_models.common.documents import MAX_NESTING
from lab_models.common.validation import explain


class Settings(HomeFolders, BaseSettings):
    """Read from the environment (prefix `LAB_`) or a `.env` file. The environment says where; the spec says what."""

    model_config = SettingsConfigDict(
        env_prefix="LAB_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    home: Path = Path(HOME)
    """Folder for the database, artifacts and data sets; unset, the nearest `.lab` upwards, else one is made here."""
    data_dir: str = ""
    """Folders searched for data sets and published weights, separated by `:`; empty means `$LAB_HOME/datasets`."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in `$LAB_HOME/lab.sqlite3`."""
    broker_url: str = ""
    """`redis://…` for workers on several machines; empty means the embedded broker."""
    store: str = ""
    """`s3://bucket/prefix` for files of runs and imported data sets where machines share no folder; empty means
    `LAB_HOME`. Endpoint and credentials: the variables AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_REGION.
    """
    devices: str = "auto"
    """`auto`, `cpu`, or a list of `cuda:0,cuda:1` or UUIDs (`nvidia-smi -L`), dealt out to the workers in turn."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of a trainer; 0: one for an MLP, for convolutions cores divided by workers, all cores when alone."""
    trainer_niceness: int = Field(default=5, ge=0, le=19)
    """How far trainers give way to other programs where all want the processors, as of `nice`: the API answers while
    all train. 0 for an equal share.
    """
    lease_seconds: float = Field(default=15.0, gt=0)
    """A run whose worker gave no sign of life for this long goes back to the queue."""
    stop_grace_seconds: float = Field(default=20.0, gt=0)
    """How long a trainer may take to save itself at a shutdown before it is killed."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Longest time between two checkpoints within an epoch; one is taken after every epoch anyway."""
    stall_seconds: float = Field(default=1800.0, gt=0)
    """A trainer that makes no progress for this long is ended: a crash. Downloads and a slow first step count too."""
    ring_seconds: float = Field(default=5.0, gt=0)
    """With Redis: how often an idle worker rings again while runs are queued."""
    max_crashes: int = Field(default=3, ge=1)
    """A run that took its trainer or worker down this often ends as failed, with code `crash_loop`."""
    max_body_bytes: int = Field(default=1_000_000, ge=1000)
    """Largest request body."""
    max_upload_bytes: int = Field(default=2_000_000_000, ge=1000)
    """Largest zip of images in `PUT /datasets/{name}`; it may unpack to five times as much."""
    max_upload_seconds: float = Field(default=3600.0, gt=0)
    """Longest that such an upload may take; one that sends nothing for a minute is given up before."""
    max_image_bytes: int = Field(default=20_000_000, ge=1000)
    """Largest image in `POST /runs/{run_id}/predict`; it may have up to 64 megapixels."""
    max_images: int = Field(default=500_000, ge=4)
    """Most images of one imported data set."""
    max_dataset_bytes_per_owner: int = Field(default=20_000_000_000, ge=0)
    """Most bytes that one owner's imported data sets may take on the disk, beyond which an import is refused; 0 for no
    limit. Admins have none.
    """
    max_datasets_per_owner: int = Field(default=100, ge=0)
    """Most imported data sets of one owner; 0 for no limit. Admins have none."""
    max_seeds: int = Field(default=100, ge=1)
    """Most seeds of one experiment."""
    max_study_runs: int = Field(default=1000, ge=1)
    """Most runs of one study."""
    max_study_layers: int = Field(default=200_000, ge=1)
    """Most layers that the different networks of one study have together, which is what its price takes to work out."""
    max_epochs: int = Field(default=10_000, ge=1)
    """Most epochs of one run."""
    max_parameters: int = Field(default=200_000_000, ge=1)
    """Most parameters of one model."""
    max_batch_size: int = Field(default=65_536, ge=1)
    """Largest batch."""
    max_steps: int = Field(default=100_000_000, ge=1)
    """Most optimizer steps of one run."""
    max_body_depth: int = Field(default=MAX_NESTING, ge=8, le=MAX_NESTING)
    """Deepest nesting of a JSON body."""
    max_labels: int = Field(default=50, ge=0, le=50)
    """Most labels of one experiment or study."""
    max_label_length: int = Field(default=200, ge=1, le=200)
    """Most characters of one label's value."""
    max_queued_per_owner: int = Field(default=10_000, ge=1)
    """Most runs of one owner that wait, queued or paused; what would be more is refused with 429."""
    max_running_per_owner: int = Field(default=0, ge=0)
    """Most runs of one owner that are trained at a time; 0 means any number. Owners take turns anyway."""
    max_run_seconds: float = Field(default=0.0, ge=0)
    """Longest that one run may train, over all its attempts; then it ends as failed, with code `time_limit`. 0 for no
    limit.
    """
    max_requests_per_minute: int = Field(default=6_000, ge=0)
    """Most requests a minute of one key, and of one address without a valid key; without keys only to what is open to
    all. 0 for no limit.
    """
    max_waiting_requests: int = Field(default=500, ge=1)
    """Most requests that wait for their turn to read, and to write, and for a picture or prediction; one more is
    answered 503 with `Retry-After` at once.
    """
    max_connections: int = Field(default=4096, ge=1)
    """Most connections at a time, and never more than half of the file descriptors that the system allows; further ones
    get 503 and are closed.
    """
    max_connections_per_address: int = Field(default=512, ge=0)
    """Most connections at a time from one address, and never more than half of all; 0 for no bound. None of a trusted
    proxy.
    """
    max_held_bytes: int = Field(default=500_000_000, ge=1_000_000)
    """Most bytes at a time of bodies not answered and of answers not read, of one address at most half; beyond it 503,
    or the connection ends.
    """
    max_watchers: int = Field(default=500, ge=1)
    """Most streams of events that one API process holds open; one more is answered 503 with `Retry-After`."""
    max_watchers_per_key: int = Field(default=20, ge=0)
    """Most of them with one key; 0 for no bound."""
    trackers: str = ""
    """Trackers, separated by commas, to which `lab serve` and `lab api` send all runs: `mlflow`, `tensorboard`,
    `wandb`, `trackio`. Where they are say their own variables, such as MLFLOW_TRACKING_URI.
    """
    max_webhooks_per_owner: int = Field(default=20, ge=0)
    """Most webhooks of one owner; with 0 there are none, and nothing is sent to those that there were."""
    webhook_private: bool = False
    """Lets webhooks lead into private networks and to this machine, over any port."""
    header_seconds: float = Field(default=15.0, gt=0)
    """How long a client may take for a request's first line and headers; then its connection is closed."""
    body_seconds: float = Field(default=30.0, gt=0)
    """How long a client may take for a body, beside a second for each 100,000 bytes of it; then 408. Imports have rules
    of their own.
    """
    send_seconds: float = Field(default=60.0, gt=0)
    """A client that reads nothing of its answer for this long has its connection closed."""
    trusted_proxies: str = ""
    """Addresses or networks of proxies, separated by commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    believed; nobody else's are.
    """
    api_keys: Literal["auto", "on", "off"] = "auto"
    """Whether requests need a key: `auto` from the first `lab keys create` on, `on` always, `off` never."""
    allow_no_keys: bool = False
    """Lets the service listen beyond this machine without any key; for networks where everybody is trusted."""
    allowed_hosts: str = ""
    """Further names, separated by commas, under which people reach it; with any, or on loopback, it answers to no
    others but loopback's.
    """
    min_free_bytes: int = Field(default=2**30, ge=0)
    """What stays free under `LAB_HOME`: nothing large is written beyond it (507, or a run's `storage_full`), and
    `/readyz` answers 503, `low on disk`.
    """
    keep_checkpoints_days: float | None = Field(default=None, ge=0)
    """`lab gc` removes the checkpoints of failed and cancelled runs this long after their end, and a retry then starts
    at epoch 1; unset keeps them.
    """
    keep_archives_days: float | None = Field(default=None, ge=0)
    """`lab gc` removes a teacher's stored outputs this long after they were made, once no unfinished run needs them;
    unset keeps them while a run used them.
    """
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    log_format: Literal["text", "json"] = "text"
    """`text` for people; `json` for one object a line, with experiment, run, attempt, worker and request as fields."""
    access_log: Literal["changes", "all", "none"] = "changes"
    """Which requests are logged: `changes` leaves out GET and HEAD, `none` all but errors of the service itself."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is said first wins: in the code, the environment, `.env`, beside a home found above this folder."""
        reads_files = (
            isinstance(dotenv_settings, DotEnvSettingsSource)
            and dotenv_settings.env_file is not None
        )
        above = FoundAbove(settings_cls, reads_files=reads_files)
        return (init_settings, env_settings, dotenv_settings, file_secret_settings, above)

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, data: Any, handler: ModelWrapValidatorHandler["Settings"]) -> "Settings":
        """Raises Misconfigured for what a setting cannot be."""
        try:
            return handler(data)
        except ValidationError as error:
            faults = explain(error, cls, data)
            raise Misconfigured(
                "; ".join(f"LAB_{one.pointer[1:].upper()}: {one.message}" for one in faults)
            ) from error

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("broker_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://")):
            raise ValueError("must be redis://HOST:PORT/NUMBER, or rediss://…, or empty")
        return value

    @field_validator("store")
    @classmethod
    def _a_bucket(cls, value: str) -> str:
        if value and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[\w./-]*)?", value):
            raise ValueError("must be s3://bucket or s3://bucket/prefix")
        return value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for name in _listed(value):
            try:
                ip_network(name)
            except ValueError as error:
                raise ValueError(
                    f"must be addresses or networks separated by commas, such as 127.0.0.1,172.16.0.0/12: {error}"
                ) from error
        return value

    @property
    def proxies(self) -> tuple[str, ...]:
        """`trusted_proxies`, one by one."""
        return _listed(self.trusted_proxies)

    @property
    def tracker_names(self) -> tuple[str, ...]:
        """`trackers`, one by one, each once."""
        return tuple(dict.fromkeys(_listed(self.trackers)))

    @property
    def effective_database_url(self) -> str:
        """The database's URL with the default filled in."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'lab.sqlite3'}"

    @property
    def is_there(self) -> bool:
        """Whether a service was ever run in this home: what only reads does not make one."""
        file = make_url(self.effective_database_url)
        is_file = file.get_backend_name() == "sqlite" and bool(file.database)
        return Path(file.database or "").is_file() if is_file else self.home.is_dir()

    @property
    def database_name(self) -> str:
        """What tells this database from others that a home could be used with: a file's place in the home, or a URL
        without its password.
        """
        url = make_url(self.effective_database_url)
        if url.database is not None and Path(url.database).is_relative_to(self.home.absolute()):
            return str(Path(url.database).relative_to(self.home.absolute()))
        return url.render_as_string(hide_password=True)

    @property
    def search_folders(self) -> tuple[Path, ...]:
        """Folders searched for data sets, in order."""
        listed = tuple(Path(part).absolute() for part in self.data_dir.split(os.pathsep) if part)
        return listed or (self.download_folder,)

    @property
    def embedded(self) -> bool:
        """Whether workers ring themselves instead of listening to a broker."""
        return not self.broker_url


def _listed(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())
