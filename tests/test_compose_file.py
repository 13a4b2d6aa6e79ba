"""docker-compose.yml and the settings agree; what its containers do is shown by `make compose-test`."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kombu import Connection

from app.devices import Dealt
from app.doorbell import broker_answers
from app.serving.workers import Workers
from app.settings import Settings
from tests.e2e.service import free_port, wait_until

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OWN = ("api", "worker", "worker-gpu")
IN_THE_IMAGE = {"LAB_HOME"}
NOT_FOR_THE_API = {"LAB_DEVICES", "LAB_STOP_GRACE_SECONDS"}
FOR_THE_API_ALONE = {"LAB_ALLOW_NO_KEYS", "LAB_ALLOWED_HOSTS"}


@pytest.mark.parametrize("service", OWN)
def test_every_setting_can_be_given_to_the_containers(service: str) -> None:
    known = {f"LAB_{name.upper()}" for name in Settings.model_fields} - IN_THE_IMAGE
    known -= NOT_FOR_THE_API if service == "api" else FOR_THE_API_ALONE
    missing = known - set(SERVICES[service]["environment"])
    assert not missing, (
        f"name {sorted(missing)} at `x-environment` in docker-compose.yml, or in this test why not"
    )


@pytest.mark.parametrize("service", OWN)
def test_a_folder_with_data_sets_is_one_line_and_nothing_writes_to_it(service: str) -> None:
    """Without that line the volume stands in its place, whose own data sets are found as before."""
    assert SERVICES[service]["volumes"] == ["lab:/data", "${LAB_DATA:-lab}:/data-in:ro"]
    settings = Settings(
        home=Path("/data"),
        data_dir=SERVICES[service]["environment"]["LAB_DATA_DIR"],
        _env_file=None,
    )
    assert settings.search_folders == (Path("/data-in"), settings.download_folder)


@pytest.mark.parametrize("service", ["worker", "worker-gpu"])
def test_a_worker_has_longer_to_stop_than_its_trainer_and_its_supervisor_take(service: str) -> None:
    settings = Settings(
        stop_grace_seconds=SERVICES[service]["environment"]["LAB_STOP_GRACE_SECONDS"],
        _env_file=None,
    )
    supervisor_seconds = Workers(settings, 1, Dealt(("cpu",)))._grace_seconds
    assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) > supervisor_seconds


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": ["${LAB_BIND:-127.0.0.1}:${LAB_PORT:-8000}:8000"],
    }


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_confined_checked_and_its_log_bounded(service: str) -> None:
    described = SERVICES[service]
    assert described["read_only"]
    assert described["init"]
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert described["restart"] == "unless-stopped"
    assert described["logging"] == {
        "driver": "json-file",
        "options": {"max-size": "10m", "max-file": "5"},
    }
    assert described["healthcheck"]["test"][0] == "CMD"
    assert described["pids_limit"] > 0
    assert "mem_limit" in described


def test_both_images_run_as_a_user_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for target in ("api", "worker"):
        stage = lines[lines.index(f"FROM service AS {target}") :]
        assert (
            next(line for line in stage if line.startswith(("USER", "CMD"))) == "USER 10001:10001"
        )


@pytest.mark.redis
@pytest.mark.parametrize("password", ["", "5f2c9e"])
def test_redis_asks_for_the_password_that_it_is_given_and_shows_it_to_nobody(
    tmp_path: Path, password: str
) -> None:
    """By the very command, URL and check of docker-compose.yml."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    shell, option, script = SERVICES["redis"]["command"]
    command = script.replace("$$", "$").replace(
        "redis-server -", f"redis-server - --port {port} --bind 127.0.0.1", 1
    )
    environment = {
        "PATH": os.environ["PATH"],
        "REDISCLI_AUTH": filled(SERVICES["redis"]["environment"]["REDISCLI_AUTH"], password),
    }
    url = filled(SERVICES["api"]["environment"]["LAB_BROKER_URL"], password).replace(
        "redis:6379", f"127.0.0.1:{port}"
    )
    server = subprocess.Popen(
        [shell, option, command], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: broker_answers(url), 10, "Redis answers to the URL")
        assert broker_answers(f"redis://127.0.0.1:{port}/0") == (password == "")
        with Connection(url) as connection:
            connection.ensure_connection(max_retries=1)
        if password:
            assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
        check = ["redis-cli", "-p", str(port), *SERVICES["redis"]["healthcheck"]["test"][2:]]
        assert (
            subprocess.run(
                check, env=environment, check=True, capture_output=True, text=True
            ).stdout
            == "PONG\n"
        )
        if password:
            assert (
                subprocess.run(
                    check, env={"PATH": environment["PATH"]}, check=False, capture_output=True
                ).returncode
                != 0
            )
    finally:
        server.kill()
        server.wait()


def filled(value: str, password: str) -> str:
    """As Compose fills it in."""
    return value.replace("${LAB_REDIS_PASSWORD:-}", password)
