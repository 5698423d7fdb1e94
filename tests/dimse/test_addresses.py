"""A host with several addresses, IPv6 among them: all are tried, and the error names them."""

import socket
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from certificates import Authority
from odd_pacs import OBJECTS, STUDY_UID
from orthanc import free_port
from peers import swallowing

from magician.client.echo import echo
from magician.client.retrieve import get_study, move_study
from magician.dimse.receiver import Receiver
from magician.errors import PacsUnreachable
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.tls import client_tls, server_tls
from magician.upper_layer.requestor import MOST_ADDRESSES, resolve_host


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this computer has no ::1")


@contextmanager
def addresses_of(monkeypatch, host, *addresses):
    """Let a name have these addresses."""
    look_up = socket.getaddrinfo

    def answer(name, port, *arguments, **keywords):
        if name != host:
            return look_up(name, port, *arguments, **keywords)
        found = []
        for address in addresses:
            found += look_up(address, port, type=socket.SOCK_STREAM)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", answer)
        yield


@NEEDS_IPV6
@pytest.mark.parametrize("host", ["localhost", "LocalHost", "::1", "pacs.example"])
def test_a_pacs_that_listens_on_ipv6_alone_is_reached(host, monkeypatch, tmp_path):
    with (
        addresses_of(monkeypatch, "pacs.example", "127.0.0.1", "::1"),
        PracticePacs(host="::1") as pacs,
    ):
        pacs.add(OBJECTS)
        node = Node(pacs.node.ae_title, host, pacs.node.port)
        assert echo(node) == 0x0000
        assert get_study(node, STUDY_UID, tmp_path).received == len(OBJECTS)


@NEEDS_IPV6
def test_a_destination_of_a_c_move_that_listens_on_ipv6_alone_is_reached(tmp_path):
    with PracticePacs() as pacs, Receiver(tmp_path, host="::1") as receiver:
        pacs.add(OBJECTS)
        pacs.know(replace(receiver.node, host="localhost"))
        moved = move_study(pacs.node, STUDY_UID, receiver)
        assert moved.received == len(OBJECTS)


@NEEDS_IPV6
def test_the_name_in_a_certificate_is_that_of_the_host_and_not_of_an_address(monkeypatch, tmp_path):
    authority = Authority(tmp_path, "clinic")
    certificate = authority.certify("pacs", hosts="DNS:pacs.example")
    tls = server_tls(certificate.certificate, certificate.key)
    with (
        addresses_of(monkeypatch, "pacs.example", "127.0.0.1", "::1"),
        PracticePacs(host="::1", tls=tls) as pacs,
    ):
        context = client_tls(ca=authority.pem)
        node = Node(pacs.node.ae_title, "pacs.example", pacs.node.port, tls=context)
        assert echo(node) == 0x0000


@NEEDS_IPV6
def test_a_pacs_on_all_addresses_of_ipv6_has_a_node_that_reaches_it():
    with PracticePacs(host="::", allowed_ae_titles=["MAGICIAN"]) as pacs:
        assert pacs.node.host == "::1"
        assert echo(pacs.node) == 0x0000


def test_an_address_that_swallows_packets_does_not_hide_the_next(monkeypatch):
    with (
        swallowing() as port,
        PracticePacs(host="127.0.0.2", port=port) as pacs,
        addresses_of(monkeypatch, "pacs.example", "127.0.0.1", "127.0.0.2"),
    ):
        node = Node(pacs.node.ae_title, "pacs.example", pacs.node.port, connect_s=0.5)
        assert echo(node) == 0x0000


def test_a_refusal_tells_more_than_packets_that_are_swallowed(monkeypatch):
    with (
        swallowing() as port,
        addresses_of(monkeypatch, "pacs.example", "127.0.0.1", "127.0.0.2"),
    ):
        node = Node("PACS", "pacs.example", port, connect_s=0.3)
        with pytest.raises(PacsUnreachable, match=f"Nothing listens on pacs.example:{port}"):
            echo(node)


def test_the_error_names_all_addresses_and_what_tells_most(monkeypatch):
    with addresses_of(monkeypatch, "pacs.example", "192.0.2.1", "127.0.0.1", "127.0.0.2"):
        node = Node("PACS", "pacs.example", free_port(), connect_s=0.5)
        with pytest.raises(PacsUnreachable) as caught:
            echo(node)
    assert f"Nothing listens on pacs.example:{node.port}" in str(caught.value)
    assert "We tried 192.0.2.1 and 127.0.0.1 and 127.0.0.2." in str(caught.value)


def test_each_address_has_its_time_and_not_more_than_eight_are_tried(monkeypatch):
    many = [f"192.0.2.{number}" for number in range(1, 30)]
    with addresses_of(monkeypatch, "pacs.example", *many):
        node = Node("PACS", "pacs.example", 104, connect_s=0.1)
        assert [host for host, _ in resolve_host(node).addresses] == many[:MOST_ADDRESSES]
        started = time.monotonic()
        with pytest.raises(PacsUnreachable, match="We tried 192.0.2.1 and .* and 192.0.2.8"):
            echo(node)
    assert time.monotonic() - started < 3


def test_one_address_alone_is_not_listed():
    with pytest.raises(PacsUnreachable) as caught:
        echo(Node("PACS", "127.0.0.1", free_port()))
    assert "We tried" not in str(caught.value)


def test_ipv4_comes_first_and_no_address_twice(monkeypatch):
    with addresses_of(monkeypatch, "pacs.example", "::1", "127.0.0.1", "::1", "127.0.0.1"):
        found = resolve_host(Node("PACS", "pacs.example", 104)).addresses
    assert found == (("127.0.0.1", 104), ("::1", 104, 0, 0))


def test_an_address_of_one_link_keeps_its_scope(monkeypatch):
    entry = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0.7", 104, 0, 3))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keywords: [entry])
    route = resolve_host(Node("PACS", "fe80::1%eth0.7", 104))
    assert route.addresses == (("fe80::1", 104, 0, 3),)
    assert route.first == ("fe80::1", 0, 3)
