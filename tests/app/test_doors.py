"""Who is let in without a key, under which names, from whose pages, and what of it gets into the log."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.api.http.connection_bounds import RESERVED_DESCRIPTORS, Connections, HeldBytes, address_of
from app.errors import Misconfigured
from app.home import home_in_use, others_may_look
from app.main import create_app
from app.settings import Settings
from tests.app.people import make_key
from tests.app.test_api import require_problem

BEYOND = "http://192.0.2.7:8000"
"""A machine's address, to which a request has come; in this process no network is asked."""


def make_api(tmp_path: Path, base_url: str, host: str | None = None, **values: Any) -> TestClient:
    settings = Settings(home=tmp_path, _env_file=None, **{"log_level": "ERROR", **values})
    return TestClient(create_app(settings, host), base_url=base_url, raise_server_exceptions=False)


@pytest.fixture
def keyless(tmp_path: Path) -> Iterator[TestClient]:
    """A service on a network where everybody is trusted, which was given no names."""
    with make_api(tmp_path, BEYOND, "0.0.0.0", allow_no_keys=True) as api:
        yield api


@pytest.mark.parametrize("host", ["0.0.0.0", None])
@pytest.mark.parametrize("api_keys", ["auto", "off"])
def test_an_application_that_anybody_has_started_serves_no_other_machine_without_a_key(
    tmp_path: Path, host: str | None, api_keys: str
) -> None:
    with make_api(tmp_path, BEYOND, host, api_keys=api_keys) as api:
        for method, path in (
            ("GET", "/experiments"),
            ("POST", "/experiments"),
            ("GET", "/metrics"),
        ):
            problem = require_problem(api.request(method, path), 403, "open_door")
            assert "at 192.0.2.7" in problem["detail"]
            assert "lab keys create" in problem["detail"]
            assert "LAB_ALLOW_NO_KEYS=true" in problem["detail"]
        assert api.get("/healthz").status_code == 200
        if api_keys == "auto":
            secret = make_key(api.app.state.database, "anna")  # type: ignore[attr-defined]
            assert (
                api.get("/experiments", headers={"Authorization": f"Bearer {secret}"}).status_code
                == 200
            )


def test_an_application_that_does_not_know_where_it_listens_serves_its_own_machine(
    tmp_path: Path,
) -> None:
    for base_url in ("http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://localhost:8000"):
        with make_api(tmp_path, base_url) as api:
            assert api.get("/experiments").status_code == 200


def test_without_keys_a_service_goes_by_the_names_of_its_machine_alone(keyless: TestClient) -> None:
    name = socket.gethostname()
    for host in (
        "192.0.2.7:8000",
        "localhost:8000",
        f"{name}:8000",
        f"{name.upper()}.local",
        "127.0.0.1",
    ):
        assert keyless.get("/experiments", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example:8000", "192.0.2.8:8000", f"{name}.evil.example"):
        for method in ("GET", "POST"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert (
                "LAB_ALLOWED_HOSTS"
                in require_problem(
                    keyless.request(method, "/experiments", headers=headers, content=b"{}"),
                    400,
                    "unknown_host",
                )["detail"]
            )
    assert keyless.get("/experiments").json()["data"] == []


def test_with_keys_a_service_for_a_network_goes_by_any_name(tmp_path: Path) -> None:
    with make_api(tmp_path, BEYOND, "0.0.0.0", api_keys="on") as api:
        secret = make_key(api.app.state.database, "anna")  # type: ignore[attr-defined]
        for host in ("lab.example.org", "192.0.2.7:8000"):
            assert (
                api.get(
                    "/experiments", headers={"Host": host, "Authorization": f"Bearer {secret}"}
                ).status_code
                == 200
            )


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8000", "http://localhost:8000", 201),
        ("localhost:8000", "http://LOCALHOST:8000", 201),
        (
            "localhost:8000",
            "http://localhost:3000",
            403,
        ),  # a notebook or another service of this machine
        ("localhost:8000", "http://127.0.0.1:8000", 403),
        ("localhost:8000", "evil://localhost:8000", 403),
        ("localhost:8000", "http://user@localhost:8000", 403),
        ("localhost:8000", "http://localhost:8000/x", 403),
        ("localhost:8000", "http://localhost:99999", 403),
        ("localhost:8000", "", 403),
        (
            "127.0.0.1:8000",
            "https://lab.example.org",
            201,
        ),  # through a proxy that names the service by its address
        ("lab.example.org", "https://lab.example.org", 201),  # through one that passes the name on
        ("lab.example.org", "https://lab.example.org:443", 201),
        ("127.0.0.1:8000", "https://lab.example.org:3000", 403),
        ("127.0.0.1:8000", "https://other.example.org:8443", 201),
        ("127.0.0.1:8000", "https://other.example.org", 403),
        ("127.0.0.1:8000", "https://lab.example.org.evil.example", 403),
    ],
)
def test_a_page_is_the_services_own_by_scheme_name_and_port(
    tmp_path: Path, host: str, origin: str, status: int
) -> None:
    with make_api(
        tmp_path,
        "http://localhost:8000",
        "127.0.0.1",
        allowed_hosts="lab.example.org, other.example.org:8443",
    ) as api:
        assert (
            api.post(
                "/experiments", content=b"{}", headers={"Host": host, "Origin": origin}
            ).status_code
            == status
        )


def test_a_page_that_was_not_encrypted_is_not_that_of_a_service_that_is(tmp_path: Path) -> None:
    with make_api(tmp_path, "https://localhost:8000", "127.0.0.1") as api:
        assert (
            api.post(
                "/experiments", content=b"{}", headers={"Origin": "http://localhost:8000"}
            ).status_code
            == 403
        )
        assert (
            api.post(
                "/experiments", content=b"{}", headers={"Origin": "https://localhost:8000"}
            ).status_code
            == 201
        )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_that_was_pasted_into_an_address_is_not_in_the_log(
    tmp_path: Path, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_api(tmp_path, "http://localhost", log_level="INFO", log_format=log_format) as api:
        secret = make_key(api.app.state.database, "anna")  # type: ignore[attr-defined]
        for path in (f"/experiments/{secret}/cancel", f"/experiments/%20{secret}"):
            api.post(path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "lab.access" in line]
    assert len(lines) == 2
    assert all(secret[:10] + "…" in line and secret[10:] not in line for line in lines)
    if log_format == "json":
        assert json.loads(lines[0])["path"] == f"/experiments/{secret[:10]}…/cancel"


@pytest.mark.parametrize("value", ["proxy", "10.0.0.1/8", "127.0.0.1,", "*", "127.0.0.1;::1"])
def test_what_is_trusted_is_an_address_or_a_network(value: str) -> None:
    if value.endswith(","):
        assert Settings(trusted_proxies=value, _env_file=None).proxies == ("127.0.0.1",)
        return
    with pytest.raises(Misconfigured, match="must be addresses or networks"):
        Settings(trusted_proxies=value, _env_file=None)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),  # one machine may have all of these
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("/run/lab.socket", None),
    ],
)
def test_whose_connection_it_is(host: str, address: str | None) -> None:
    assert address_of(host) == address


def test_file_descriptors_bound_the_connections_and_no_address_gets_more_than_half() -> None:
    connections = Connections(Settings(_env_file=None))
    connections.fit(1_000_000)
    assert (connections.most, connections.most_per_address) == (4096, 512)
    connections.fit(1024)
    assert (connections.most, connections.most_per_address) == (
        (1024 - RESERVED_DESCRIPTORS) // 2,
        192,
    )
    connections.fit(10)
    assert (connections.most, connections.most_per_address) == (1, 1)


def test_a_trusted_proxy_speaks_for_many() -> None:
    connections = Connections(
        Settings(
            max_connections=9,
            max_connections_per_address=2,
            trusted_proxies="192.0.2.0/30,2001:db8::/32",
            _env_file=None,
        )
    )
    proxied, direct, six = "192.0.2.3", "192.0.2.4", "2001:db8:1:2::/64"
    assert [connections.admit(address) for address in (proxied,) * 3 + (direct,) * 3 + (six,) * 3 + (None, None)] == [
        None, None, None, None, None, "address", None, None, None, None, "all",
    ]  # fmt: skip
    connections.leave(direct)
    assert connections.admit(direct) is None
    assert connections.num_refused == {"all": 1, "address": 1}


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 60), st.booleans()),
        max_size=40,
    ),
    st.integers(1, 200),
    st.integers(1, 50),
)
def test_what_clients_have_held_stays_within_its_bounds_and_comes_to_nothing(
    steps: list[tuple[str | None, int, bool]], most: int, least: int
) -> None:
    held = HeldBytes(most, least)
    kept: list[tuple[str | None, int]] = []
    refused = 0
    for address, num_bytes, gives_back in steps:
        if gives_back and kept:
            held.let_go(*kept.pop())
        in_all, of_it = (
            sum(size for _, size in kept),
            sum(size for name, size in kept if name == address),
        )
        fits = in_all + num_bytes <= max(most, least) and (
            address is None or of_it + num_bytes <= max(most // 2, least)
        )
        assert held.hold(address, num_bytes) == fits
        kept += [(address, num_bytes)] * fits
        refused += not fits
        assert held.num_bytes == sum(size for _, size in kept)
    for one in kept:
        held.let_go(*one)
    assert (held.num_bytes, held.num_refused) == (0, refused)


def test_what_a_trusted_proxy_s_connections_hold_is_nobody_s_in_particular() -> None:
    connections = Connections(Settings(trusted_proxies="192.0.2.0/30", _env_file=None))
    assert [connections.whose(address) for address in ("192.0.2.3", "192.0.2.4", None)] == [
        None,
        "192.0.2.4",
        None,
    ]


def test_a_home_is_made_for_its_user_alone(tmp_path: Path) -> None:
    with home_in_use(tmp_path / "outer" / "home"):
        assert not others_may_look(tmp_path / "outer" / "home")
        assert not others_may_look(tmp_path / "outer")
    for mode in (0o750, 0o701):
        tmp_path.chmod(mode)
        assert others_may_look(tmp_path)
