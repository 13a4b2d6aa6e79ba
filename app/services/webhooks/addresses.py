"""Where a message may be sent: URLs that can be a webhook's, and addresses that a name may lead to.

A service that sends to any address which its users name lends them its place in the network. So a name is looked up
once, what it leads to is checked here, and the connection goes to exactly that (`app/sender/posting.py`).
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from pydantic import ValidationError
from pydantic_core import SchemaError, Url

LONGEST_URL: Final = 1000
USUAL_PORTS: Final = frozenset({80, 443})
FIRST_FREE_PORT: Final = 1024
SETTING: Final = "LAB_WEBHOOK_PRIVATE=true allows it"

UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out for the whole internet. What carries an address of IPv4 in itself lies outside
(`::ffff:0:0/96`, `64:ff9b::/96`, `64:ff9b:1::/48`), or below.
"""
NOT_THEIR_OWN: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # special purposes, Teredo among them (RFC 4380)
            "2001:db8::/32",  # documents
            "2002::/16",  # 6to4 (RFC 3056): another way to any address of IPv4
            "3fff::/20",  # documents (RFC 9637)
        ),
    )
)


def read_url(given: str, *, private: bool) -> str:
    """The URL in its usual form: numbers for an address as four with dots, letters of other scripts as `xn--`.

    Raises ValueError, saying why, for what is no webhook's: another scheme, a user's name or password, a fragment, a
    port of another service, and unless `private` an address that is written out and not of the whole internet.
    """
    if len(given) > LONGEST_URL:
        raise ValueError(f"has {len(given):,} characters, and a URL may have {LONGEST_URL:,}")
    if not given.isprintable():
        raise ValueError("holds characters that are not shown")
    try:
        url = Url(given)
    except (ValidationError, SchemaError, ValueError) as error:
        raise ValueError("is no URL; write one such as https://example.org/hook") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must begin with https:// or http://")
    if url.username or url.password:
        raise ValueError(
            "holds a user's name or a password, which would be sent with every message: leave them out; the"
            " signature tells the receiver who sends"
        )
    if url.fragment is not None:
        raise ValueError(f"ends in #{url.fragment[:20]}, which is never sent: leave it out")
    _refuse_port(url.port or 0, private=private)
    host = url.host.strip("[]")
    if not private:
        if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
            raise ValueError(f"leads to this machine itself; {SETTING}")
        _refuse_written_out(host)
    return str(url)


def why_not(address: str) -> str | None:
    """Why nothing may be sent to an address that a name has led to, in a few words; None where it is one of the whole
    internet, of which its holder answers for what listens there.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "is no address"
    if isinstance(found, IPv6Address):
        return _why_not_6(found)
    return _why_not_4(found)


def _why_not_4(found: IPv4Address) -> str | None:
    if found.is_loopback or found.is_unspecified:
        return "is this machine itself"
    if found.is_link_local:
        return "is of this link alone"
    if found.is_multicast:
        return "is a group's"
    if not found.is_global or found.is_reserved:
        return "is of a private network or reserved"
    return None


def _why_not_6(found: IPv6Address) -> str | None:
    if found.is_loopback or found.is_unspecified:
        return "is this machine itself"
    if found.is_link_local:
        return "is of this link alone"
    if found.is_multicast:
        return "is a group's"
    if found not in UNICAST or not found.is_global or any(found in net for net in NOT_THEIR_OWN):
        return "is of a private network, reserved, or stands for an address of IPv4"
    return None


def _refuse_port(port: int, *, private: bool) -> None:
    if port == 0 or (not private and port < FIRST_FREE_PORT and port not in USUAL_PORTS):
        raise ValueError(
            f"names port {port}; a webhook's is 80, 443 or one from {FIRST_FREE_PORT} on"
        )


def _refuse_written_out(host: str) -> None:
    try:
        ip_address(host)
    except ValueError:
        return  # a name, which is looked up when something is sent
    if (reason := why_not(host)) is not None:
        raise ValueError(f"leads to {host}, which {reason}; {SETTING}")
