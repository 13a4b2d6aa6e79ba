"""Where webhooks may lead: nothing but addresses of the whole internet, by whatever way they are written."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.webhooks.addresses import read_url, why_not

REFUSED = (
    *("0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "198.18.0.1", "203.0.113.9"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:808:808::", "2001::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1"),
    "no address",
)


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_of_the_whole_internet_is_refused(address: str) -> None:
    assert why_not(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_what_is_of_the_whole_internet_is_not(address: str) -> None:
    assert why_not(address) is None


@given(st.ip_addresses())
def test_nothing_passes_that_the_standard_library_calls_private(
    address: IPv4Address | IPv6Address,
) -> None:
    if why_not(str(address)) is None:
        assert address.is_global
        kinds = ("private", "loopback", "link_local", "multicast", "reserved", "unspecified")
        assert [kind for kind in kinds if getattr(address, f"is_{kind}")] == []


@given(st.ip_addresses(v=4), st.integers(0, 2**64 - 1))
def test_no_address_of_ipv4_passes_within_one_of_ipv6(inner: IPv4Address, rest: int) -> None:
    number = int(inner)
    for base, shift in (
        ("::ffff:0:0", 0),  # mapped
        ("::", 0),  # compatible
        ("64:ff9b::", 0),  # NAT64
        ("64:ff9b:1::", 0),
        ("2002::", 80),  # 6to4
        ("2001::", 0),  # Teredo
    ):
        built = IPv6Address(int(IPv6Address(base)) | number << shift | (rest if shift else 0))
        assert why_not(str(built)), built
    assert ipaddress.ip_address(str(inner)).version == 4


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("//example.org", "no URL"),
        ("https://", "no URL"),
        ("https://ann:secret@example.org/", "password"),
        ("https://ann@example.org/", "user's name"),
        ("https://example.org/#part", "#part"),
        ("https://example.org:22/", "port 22"),
        ("https://example.org:0/", "port 0"),
        ("http://localhost/", "this machine"),
        ("http://a.localhost:8000/", "this machine"),
        ("http://127.0.0.1/", "this machine"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://017700000001/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://[::1]/", "this machine"),
        ("http://[::ffff:10.0.0.1]/", "IPv4"),
        ("http://169.254.169.254/latest/meta-data", "this link"),
        ("https://example.org/\u202egro", "not shown"),
        ("https://example.org/" + "x" * 1000, "characters"),
    ],
)
def test_a_url_that_is_no_webhooks_is_refused_and_says_why(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("/", "/")):
        read_url(url, private=False)


def test_a_url_is_kept_in_its_usual_form() -> None:
    assert read_url("HTTPS://Bücher.example:443/a b", private=False) == (
        "https://xn--bcher-kva.example/a%20b"
    )
    assert read_url("http://example.org:8080", private=False) == "http://example.org:8080/"
    assert read_url("http://localhost:25/x", private=True) == "http://localhost:25/x"
    assert read_url("http://0x7f.1/", private=True) == "http://127.0.0.1/"
