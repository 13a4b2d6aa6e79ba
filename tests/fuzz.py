"""Fuzzing by the OpenAPI document: `python -m tests.fuzz --cases 5000 --seed 1` sends odd and valid requests to a real
service and checks every answer.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from app.main import create_app
from app.roles import Role
from app.services.owners.keys import create_key
from app.settings import Settings
from app.storage.db import open_database
from tests.app.studies import fail_next, finish, grid, send
from tests.app.test_predict import SMALL
from tests.app.test_predict import Service as InThisProcess
from tests.e2e.service import Service

BODIES = Path(__file__).with_name("fuzz_bodies.py")
WITHOUT_THE_LARGEST_BODIES = """# Every boundary of every field of these two bodies is most of the work;
# the tests of the specs have them too.
[[operations]]
include-path = ["/experiments", "/studies"]
include-method = "POST"
phases.coverage.enabled = false
"""
METHODS = {"get", "post", "put", "patch", "delete"}
LIMITS = {
    "max_study_runs": 40,
    "max_epochs": 100,
    "max_parameters": 2_000_000,
    "max_body_bytes": 100_000,
    "max_requests_per_minute": 0,
    "max_queued_per_owner": 1_000_000,
    "log_level": "ERROR",
}
"""Small, so that no valid request is slow; what is above them is refused like everything else."""

NOT_MEANT = "ensure_resource_availability"
"""Of an experiment that was just made there are no results yet, nor has every kind each of them, and 404 says so."""

CONFIGURATION = """
hooks = "{hooks}"
continue-on-failure = true
request-timeout = 60
warnings = false

[generation]
max-examples = {examples}

[dictionaries]
{dictionaries}

# Random ids are never found: of ten requests three name something that is there.
[parameters]
{bindings}

# It would really wait.
"query.wait" = 0.1

[auth.openapi.key]
bearer = "{key}"

[checks]
# A schema cannot say that a momentum needs SGD, that a recipe and a list of specs exclude each other, or which data
# sets, teachers and metrics there are: what fits the schema may be refused with 422, and what an id names may be
# missing or in another state. 400 is for U+0000 in a string.
positive_data_acceptance.expected-statuses = ["2xx", "304", "400", "404", "409", "422", "429"]
negative_data_rejection.expected-statuses = ["400", "401", "404", "405", "409", "413", "422"]

[phases.coverage]
unexpected-methods = ["PATCH", "PUT", "DELETE", "TRACE", "QUERY"]

[phases.stateful]
generation.max-examples = {scenarios}
max-steps = 8

{brief}
"""


def main() -> int:
    """Fuzz a service of its own; the exit status is 0 when every answer was as documented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases",
        type=int,
        default=5000,
        help="about how many requests beside the systematic ones (default: 5000)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="repeat the requests of an earlier run (default: a new one, which is printed)",
    )
    parser.add_argument(
        "--phases",
        default="examples,coverage,fuzzing,stateful",
        help="which of Schemathesis' phases to run (default: all)",
    )
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="lab-fuzz-") as folder:
        return fuzz(Path(folder), cases=options.cases, seed=seed, phases=options.phases)


def fuzz(folder: Path, *, cases: int, seed: int, phases: str, brief: bool = False) -> int:
    """Start a service in `folder` with something in it, send requests, stop it; returns Schemathesis' exit status.
    `brief` leaves most boundaries out.
    """
    home = folder / "home"
    known, key = fill(home)
    service = Service(home, **LIMITS)
    try:
        service.api()
        document = service.http.get("/openapi.json").json()
        operations = sum(len(METHODS & set(path)) for path in document["paths"].values())
        configuration = folder / "schemathesis.toml"
        counts = {"examples": max(1, cases // operations), "scenarios": max(10, cases // 20)}
        configuration.write_text(
            _configuration(
                known, key=key, brief=WITHOUT_THE_LARGEST_BODIES if brief else "", **counts
            )
        )
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(configuration),
            "run",
            f"http://127.0.0.1:{service.port}/openapi.json",
        ]
        command += [
            "--checks",
            "all",
            "--exclude-checks",
            NOT_MEANT,
            "--phases",
            phases,
            "--seed",
            str(seed),
            "--no-color",
        ]
        command += ["--exclude-path-regex", "/events$"]  # streams, which do not end
        command += ["--generation-database", "none", "--suppress-health-check", "all"]
        status = subprocess.run(
            command, cwd=folder, check=False, env=os.environ | {"NO_PROXY": "127.0.0.1"}
        ).returncode
        print(service.read_log())
        service.get("/healthz")
        return status
    finally:
        service.stop()


def fill(home: Path) -> tuple[dict[str, list[str]], str]:
    """A run that has learned, a study with results and a failure, experiments in several states: their ids by the
    parameter that takes them, and a key.
    """
    settings = Settings(home=home, log_level="ERROR", _env_file=None)
    database = open_database(settings)
    app = create_app(settings)
    with TestClient(app) as api:
        trained = InThisProcess(api, app.state.database, settings).trained(
            {**SMALL, "probes": ["gradient_flow"]}
        )
        study = send(api, **grid())
        fail_next(database)
        finish(database, settings, study["id"], {})
        waiting = [
            _post(api, {"labels": {"a": "b"}, "seeds": 2}),
            _post(api, {"kind": "distill", "teacher": {"spec": {"epochs": 1}}, "baseline": True}),
        ]
        api.post(f"/experiments/{waiting[1]['id']}/cancel")
    with database.writing() as session:  # from here on the service asks for keys
        _, key = create_key(session, "fuzz", Role.ADMIN)
    database.close()
    experiments = [record["id"] for record in waiting] + [
        cell["experiment_id"] for cell in study["cells"]
    ]
    known = {
        "path.experiment_id": experiments,
        "path.run_id": [trained, waiting[0]["runs"][0]["id"]],
        "path.study_id": [study["id"]],
        "query.experiments": [",".join(experiments[-2:]), experiments[-1]],
        "query.metric": ["test.accuracy", "val.loss", "loss,accuracy", "test.teacher_agreement"],
        "query.factor": ["depth", "residual"],
    }
    return known, key


def _post(api: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def _configuration(known: dict[str, list[str]], **values: object) -> str:
    """Schemathesis' configuration, in TOML; JSON's strings and lists are TOML's."""
    dictionaries = "\n".join(
        f"{_word(name)} = {{ values = {json.dumps(entries)} }}" for name, entries in known.items()
    )
    bindings = "\n".join(
        f'"{name}" = {{ dictionary = "{_word(name)}", probability = 0.3 }}' for name in known
    )
    return CONFIGURATION.format(
        hooks=BODIES, dictionaries=dictionaries, bindings=bindings, **values
    )


def _word(name: str) -> str:
    return name.replace(".", "-")


if __name__ == "__main__":
    sys.exit(main())
