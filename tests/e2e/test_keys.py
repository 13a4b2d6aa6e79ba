"""Keys, as whoever runs the service meets them: refused without one, made on the command line, used by it."""

import json
import subprocess
from collections.abc import Callable

from tests.e2e.service import LAB, Service


def lab(service: Service, *arguments: str, key: str = "") -> "subprocess.CompletedProcess[str]":
    """`lab <arguments>` beside the service, with a key or without."""
    environment = service._environment | {
        "LAB_URL": f"http://127.0.0.1:{service.port}",
        "LAB_API_KEY": key,
    }
    return subprocess.run(
        [*LAB, *arguments], env=environment, capture_output=True, text=True, timeout=100
    )


def test_a_service_for_a_network_needs_a_key_which_the_commands_send(
    make_service: Callable[..., Service],
) -> None:
    service = make_service()
    everywhere = ("--host", "0.0.0.0", "--port", str(service.port))
    refused = lab(service, "serve", *everywhere, "--workers", "1")
    assert refused.returncode == 2
    assert "make one with `lab keys create YOUR-NAME --role admin`" in refused.stderr

    made = lab(service, "keys", "create", "anna")
    assert made.returncode == 0, made.stderr
    anna, ben = made.stdout.strip(), lab(service, "keys", "create", "ben").stdout.strip()
    service.start("serve", *everywhere, "--workers", "1")
    service.wait_until_up()
    service.wait_for_workers(1)
    assert service.http.get("/experiments").status_code == 401
    spec = service.home / "spec.json"
    spec.write_text(json.dumps({"dataset": "digits", "model": {"hidden": [16]}, "epochs": 2}))

    without = lab(service, "submit", str(spec))
    assert without.returncode == 1
    assert "set LAB_API_KEY" in without.stderr
    submitted = lab(service, "submit", str(spec), "--wait", key=anna)
    assert submitted.returncode == 0, submitted.stderr
    record = json.loads(submitted.stdout)
    assert record["status"] == "succeeded"
    shown = lab(service, "show", record["id"], key=ben)
    assert shown.returncode == 1
    assert f"there is no experiment '{record['id']}'" in shown.stderr

    me = lab(service, "me", key=anna).stdout.splitlines()
    assert me[0].startswith("anna, role 'submit' (key_")
    assert me[2].split()[:4] == ["anna", "submit", "1", "1"], me
    instructor = lab(service, "keys", "create", "instructor", "--role", "admin").stdout.strip()
    owners = lab(service, "owners", key=instructor).stdout.splitlines()
    assert [line.split()[0] for line in owners[1:]] == ["anna", "ben", "instructor", "local"]

    listed = lab(service, "keys", "list").stdout
    key_id = next(line.split()[2] for line in listed.splitlines() if line.startswith("anna "))
    assert lab(service, "keys", "revoke", key_id).returncode == 0
    revoked = lab(service, "show", record["id"], key=anna)
    assert revoked.returncode == 1
    assert "it has been revoked" in revoked.stderr
    assert anna not in service.log.read_text()
