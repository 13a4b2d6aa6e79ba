"""One message to one receiver: slow, failing, redirecting, resetting, endless, or under a name that turns."""

import asyncio
import ssl
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sender import posting
from app.sender.posting import Poster
from app.services.webhooks import signing
from app.services.webhooks.schedule import Attempted
from tests.app.receivers import Receiver, endless, hangs, receiving, reset, status

BODY = b'{"type":"experiment.failed"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def post(url: str, **poster: Any) -> Attempted:
    async def once() -> Attempted:
        made = Poster(**{"private": True, "most": 2, **poster})
        return await made.post("msg_1", url, {"webhook-id": "msg_1"}, BODY)

    return asyncio.run(once())


class Names:
    """A resolver that leads a name to each of these in turn, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, int]]()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def test_what_is_sent_arrives_and_the_first_kilobyte_of_the_answer_is_kept(
    receiver: Receiver,
) -> None:
    receiver.answers["/long"] = status(201, "é\x00".encode() * 2000)
    assert post(receiver.url()) == Attempted(200, "thanks")
    (received,) = receiver.received
    assert (received.body, received.headers["host"]) == (BODY, f"127.0.0.1:{receiver.port}")
    long = post(receiver.url("/long"))
    assert long.http_status == 201
    assert long.answer is not None
    assert 300 < len(long.answer) <= posting.MOST_ANSWER_BYTES
    assert "\x00" not in long.answer


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers["/moved"] = status(307, b"", Location=receiver.url("/elsewhere"))
    attempted = post(receiver.url("/moved"))
    assert (attempted.http_status, attempted.is_success) == (307, False)
    assert [one.path for one in receiver.received] == ["/moved"]


def test_a_receiver_that_is_slow_endless_or_resets_costs_a_try_and_no_more(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "SECONDS", 0.5)
    receiver.answers |= {
        "/slow": hangs(receiver),
        "/endless": endless(receiver),
        "/reset": reset,
        "/drips": drips(receiver),
    }
    assert post(receiver.url("/slow")).error == "no answer within 0.5 s"
    assert post(receiver.url("/drips")).error == "no answer within 0.5 s"
    taken = post(receiver.url("/endless"))
    assert (taken.http_status, len(taken.answer or "")) == (200, posting.MOST_ANSWER_BYTES)
    assert (post(receiver.url("/reset")).error or "").startswith("no answer: ")


def drips(receiver: Receiver) -> Any:
    """A byte now and then keeps nobody waiting for longer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not receiver.closing.wait(0.05):
            handler.wfile.write(b"X-More: yes\r\n")

    return answer


def test_nobody_listens_and_no_such_name_are_said() -> None:
    assert (post("http://127.0.0.1:9/").error or "").startswith("no answer: ")

    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    assert "example.invalid is not known" in (
        post("http://example.invalid/", resolve=unknown).error or ""
    )


def test_a_name_that_leads_to_a_private_address_is_not_sent_to(receiver: Receiver) -> None:
    for answer in (["127.0.0.1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "10.0.0.1"]):
        names = Names(answer)
        attempted = post(receiver.url(host="looks.example"), private=False, resolve=names)
        assert "nothing was sent" in (attempted.error or "")
        assert "LAB_WEBHOOK_PRIVATE" in (attempted.error or "")
    assert receiver.received == []


def test_a_name_that_turns_to_a_private_address_after_the_check_is_not_followed_there(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to what was checked: the name is looked up once, by whomsoever."""
    went: list[str] = []

    async def transport(_: Any, request: httpx.Request) -> httpx.Response:
        went.append(request.url.host)
        assert request.headers["host"] == f"turns.example:{receiver.port}"
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    names = Names(["93.184.215.14"], ["127.0.0.1"])
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", transport)
    url = receiver.url(host="turns.example")
    assert post(url, private=False, resolve=names).is_success
    assert (went, names.asked) == (["93.184.215.14"], [("turns.example", receiver.port)])
    assert "127.0.0.1" in (post(url, private=False, resolve=names).error or "")
    assert went == ["93.184.215.14"]


def test_the_system_is_asked_for_a_name_once_and_never_by_the_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real connection: what connects is given a number."""
    asked: list[Any] = []
    loop_lookup = asyncio.BaseEventLoop.getaddrinfo

    async def seen(self: Any, host: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return await loop_lookup(self, host, *arguments, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", seen)
    names = Names(["127.0.0.1"])
    assert post(receiver.url(host="a.name.example"), resolve=names).is_success
    assert len(names.asked) == 1
    assert all(ip_address(host) for host in asked)


def test_another_address_of_the_name_is_tried_where_nobody_listens_on_the_first(
    receiver: Receiver,
) -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])
    assert post(receiver.url(host="two.example"), resolve=names).is_success


def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert post(receiver.url(host="named.example"), resolve=Names(["127.0.0.1"])).is_success


def test_the_certificate_must_be_of_the_name_though_the_connection_goes_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified(tmp_path, "right.example")))
    with tls(tmp_path) as port:
        names = Names(["127.0.0.1"])
        assert post(f"https://right.example:{port}/", resolve=names) == Attempted(200, "safe")
        wrong = post(f"https://wrong.example:{port}/", resolve=names)
    assert "certificate" in (wrong.error or "").lower()


def certified(folder: Path, name: str) -> Path:
    """A certificate of this name that signs itself, with its key beside it."""
    x509 = pytest.importorskip("cryptography.x509", reason="certificates for tests are made by it")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "certificate.pem"


class tls:  # noqa: N801 - used as a context
    """A receiver by HTTPS that answers `safe`; its port."""

    def __init__(self, folder: Path) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status(200, b"safe")(self)

            def log_message(self, *_: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_the_standards_own_library_verifies_our_signature() -> None:
    library = pytest.importorskip(
        "standardwebhooks", reason="the library of Standard Webhooks is not installed"
    )
    secret = signing.new_secret()
    headers = signing.signed("msg_1", datetime.now(UTC), BODY, secret)
    assert library.Webhook(secret).verify(BODY, headers) == {"type": "experiment.failed"}
    with pytest.raises(Exception, match="No matching signature"):
        library.Webhook(signing.new_secret()).verify(BODY, headers)


def test_a_signature_is_that_of_the_standards_example() -> None:
    """The vector that its libraries are tested with."""
    headers = signing.signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize("secret", ["", "whsec_", "abc", "whsec_!!!!", "whsec_YWJj"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24"):
        signing.key_of(secret)
