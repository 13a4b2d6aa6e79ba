"""docker-compose.yml and the settings agree; what its containers do is shown by `make compose-test`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.serving import Workers
from app.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OWN = ("api", "worker", "worker-gpu")
IN_THE_IMAGE = {"LAB_HOME", "LAB_DATA_DIR"}
NOT_FOR_THE_API = {"LAB_DEVICES", "LAB_STOP_GRACE_SECONDS"}
FOR_THE_API_ALONE = {"LAB_ALLOW_NO_KEYS", "LAB_ALLOWED_HOSTS"}


@pytest.mark.parametrize("service", OWN)
def test_every_setting_can_be_given_to_the_containers(service: str) -> None:
    known = {f"LAB_{name.upper()}" for name in Settings.model_fields} - IN_THE_IMAGE
    known -= NOT_FOR_THE_API if service == "api" else FOR_THE_API_ALONE
    missing = known - set(SERVICES[service]["environment"])
    assert not missing, f"name {sorted(missing)} at `x-environment` in docker-compose.yml, or in this test why not"


@pytest.mark.parametrize("service", ["worker", "worker-gpu"])
def test_a_worker_has_longer_to_stop_than_its_trainer_and_its_supervisor_take(service: str) -> None:
    settings = Settings(stop_grace_seconds=SERVICES[service]["environment"]["LAB_STOP_GRACE_SECONDS"], _env_file=None)
    supervisor_seconds = Workers(settings, 1)._grace_seconds
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
    assert described["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
    assert described["healthcheck"]["test"][0] == "CMD"
    assert described["pids_limit"] > 0
    assert "mem_limit" in described


def test_both_images_run_as_a_user_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for target in ("api", "worker"):
        stage = lines[lines.index(f"FROM service AS {target}") :]
        assert next(line for line in stage if line.startswith(("USER", "CMD"))) == "USER 10001:10001"
