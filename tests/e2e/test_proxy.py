"""docs/proxy.md is true: its configurations as they stand, with ports and a certificate of the test, before a real
service.
"""

import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import Service, free_port, wait_until

DOCUMENT = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()
NAME = "lab.example.org"

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def block(kind: str) -> str:
    """The one block of this kind in the document."""
    [found] = re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As the document has it started, with a low rate limit."""
    settings = dict(re.findall(r"LAB_(\w+)=(\S+)", DOCUMENT.split("```")[1]))
    assert set(settings) == {"API_KEYS", "ALLOWED_HOSTS", "TRUSTED_PROXIES"}
    running = Service(
        tmp_path_factory.mktemp("home"),
        max_requests_per_minute=5,
        **{name.lower(): value for name, value in settings.items()},
    )
    running.api()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={NAME}",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
    ]
    subprocess.run(
        [*command, "-out", str(chain), "-keyout", str(key)], check=True, capture_output=True
    )
    return chain, key


def require_a_proxy(port: int, chain: Path, network: str) -> None:
    """HTTPS with the service's refusals; made-up senders do not get around the rate limit, and real ones count one by
    one.
    """
    context = ssl.create_default_context(cafile=str(chain))

    def get(path: str, machine: int = 1, **headers: str) -> httpx.Response:
        with httpx.Client(
            transport=httpx.HTTPTransport(verify=context, local_address=f"{network}.{machine}"),
            timeout=20,
        ) as http:
            named = {"Host": NAME, **headers}
            return http.get(
                f"https://127.0.0.1:{port}{path}", headers=named, extensions={"sni_hostname": NAME}
            )

    def answers() -> bool:
        try:
            return get("/version").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, 20, "the proxy answers")
    statuses = [
        get("/experiments", **{"X-Forwarded-For": f"192.0.2.{number}"}).status_code
        for number in range(8)
    ]
    assert (statuses[0], statuses[-1]) == (401, 429)
    assert get("/experiments", machine=5).status_code == 401
    page = get("/experiments", machine=6, Origin=f"https://{NAME}:3000")
    assert (page.status_code, page.json()["code"]) == (403, "other_origin")
    assert get("/experiments", machine=6, Origin=f"https://{NAME}").json()["code"] == "unauthorized"


@needs_openssl
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_as_documented(
    service: Service, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    chain, key = certificate
    port, plain = free_port(), free_port()
    configuration = block("nginx")
    for before, after in (
        ("127.0.0.1:8000", f"127.0.0.1:{service.port}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/etc/ssl/lab/fullchain.pem", str(chain)),
        ("/etc/ssl/lab/privkey.pem", str(key)),
    ):
        assert configuration.count(before) == 1
        configuration = configuration.replace(before, after)
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = (
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{}} http {{ access_log off;"
        f" {folders} {configuration} }}"
    )
    (tmp_path / "nginx.conf").write_text(main)
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr.replace('the "user" directive', "")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        require_a_proxy(port, chain, "127.0.1")
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
@needs_openssl
def test_caddy_as_documented(
    service: Service, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    chain, key = certificate
    port = free_port()
    configuration = block("caddy")
    for before, after in (
        ("127.0.0.1:8000", f"127.0.0.1:{service.port}"),
        (
            "lab.example.org {",
            f"https://lab.example.org:{port} {{\n\tbind 127.0.0.1\n\ttls {chain} {key}",
        ),
        ("{\n\tservers {", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {"),
    ):
        assert configuration.count(before) == 1
        configuration = configuration.replace(before, after)
    (tmp_path / "Caddyfile").write_text(configuration)
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    arguments = ["--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    checked = subprocess.run(
        ["caddy", "validate", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(
        ["caddy", "run", *arguments], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        require_a_proxy(port, chain, "127.0.2")
    finally:
        process.terminate()
        process.wait(10)
