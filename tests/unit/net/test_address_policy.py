"""Which addresses may be dialled on a stranger's word."""

import pytest

from mailtls.net.addresses import AddressPolicy, parse_networks


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("64:ff9b:1::7f00:1", "loopback"),
        ("64:ff9b:1:7f00:0:100::", "loopback"),
        ("64:ff9b:1:7f:0:1::", "loopback"),
        ("64:ff9b:1:0:7f:0:100::", "loopback"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:192.0.0.192", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("localhost", "no address"),
    ],
)
def test_address_that_nobody_serves_mail_or_acme_from_is_refused_however_it_is_written(address: str, what: str) -> None:
    """IPv4 inside IPv6 is judged by where the packets end up."""
    assert what in (AddressPolicy().refusal(address, 443) or "")


@pytest.mark.parametrize(
    "address",
    ["192.0.32.7", "2a00:1450:4001::1", "::ffff:192.0.32.7", "64:ff9b:1::c000:2007", "64:ff9b:1:c000:20:700::"],
)
def test_global_address_is_dialled_whatever_the_settings(address: str) -> None:
    """Mail servers and CAs of the internet are reached by default."""
    assert AddressPolicy(private=False).refusal(address, 443) is None


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_private_address_is_dialled_only_where_the_setting_admits_them(address: str) -> None:
    """A private CA is normal; a public name that leads into the cluster is not."""
    assert AddressPolicy().refusal(address, 443) is None
    assert AddressPolicy(private=False).refusal(address, 443) == "a private address"


def test_api_server_is_refused_though_private_addresses_are_admitted() -> None:
    """What answers there would answer to the operator's network position."""
    policy = AddressPolicy(api_servers=frozenset({"10.96.0.1"}))
    assert policy.refusal("10.96.0.1", 443) == "the Kubernetes API server"
    assert policy.refusal("::ffff:10.96.0.1", 443) == "the Kubernetes API server"
    assert policy.refusal("10.96.0.2", 443) is None


def test_network_that_the_installation_lists_goes_before_every_refusal() -> None:
    """An ACME server in a sidecar is somebody's decision."""
    policy = AddressPolicy(parse_networks(["127.0.0.1", "198.18.0.0/15"]), private=False)
    assert policy.refusal("127.0.0.1", 443) is None
    assert policy.refusal("::ffff:127.0.0.1", 443) is None
    assert policy.refusal("198.18.0.1", 443) is None
    assert policy.refusal("127.0.0.2", 443) == "a loopback address"


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0.1/8", "10.0.0.0/33"])
def test_network_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    """A typing error must not open or close anything unseen."""
    with pytest.raises(ValueError, match="write networks such as"):
        parse_networks([text])


@pytest.mark.parametrize(
    ("address", "port", "is_refused"),
    [
        ("198.51.100.7", 6443, True),
        ("::ffff:198.51.100.7", 6443, True),
        ("198.51.100.7", 443, False),
        ("198.51.100.8", 6443, False),
        ("2001:db8::7", 443, True),
        ("2001:db8::7", 6443, False),
    ],
)
def test_endpoint_of_the_api_server_is_refused_at_its_port_only(address: str, port: int, is_refused: bool) -> None:
    """It was learned after the policy was handed out; a CA or a mail server may listen on the same machine."""
    policy = AddressPolicy()
    policy.api_endpoints.add(["198.51.100.7:6443", "[2001:db8::7]:443", "a name:6443", "nothing"])
    expected = "the Kubernetes API server" if is_refused else None
    assert policy.refusal(address, port) == expected


def test_endpoint_of_the_api_server_is_admitted_where_the_installation_lists_it() -> None:
    """What is listed goes before every refusal."""
    policy = AddressPolicy(parse_networks(["198.51.100.0/24"]))
    policy.api_endpoints.add(["198.51.100.7:6443"])
    assert policy.refusal("198.51.100.7", 6443) is None
