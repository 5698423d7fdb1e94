"""DICOM over TLS (PS3.15 Annex B): with our own listeners, with DCMTK and Orthanc, and each way in
which it fails.
"""

import select
import socket
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import replace

import pytest
from certificates import Authority
from helpers import ct_series, require_program, write_series
from orthanc import free_port, running, running_orthanc
from peers import hangs_up, listening, says
from pydicom import dcmread

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.errors import AssociationAborted, PacsTimeout, TlsFailure
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.tls import client_tls, server_tls
from magician.upper_layer.requestor import Connection

SERIES = ct_series(slices=3)
STUDY_UID = SERIES[0].StudyInstanceUID
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Certificates:
    def __init__(self, folder):
        self.ours, self.theirs = Authority(folder, "ours"), Authority(folder, "theirs")
        self.server, self.client = self.ours.certify("server"), self.ours.certify("client")
        self.stranger = self.theirs.certify("stranger")
        self.expired = self.ours.certify("expired", days=0)
        self.elsewhere = self.ours.certify("elsewhere", hosts="DNS:pacs.example")

    def listen(self, who="server", *, mutual=False, version=None):
        context = server_tls(*pair(getattr(self, who)), ca=self.ours.pem if mutual else None)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def call(self, who=None, *, trust="ours"):
        certificate, key = pair(getattr(self, who)) if who else (None, None)
        return client_tls(ca=getattr(self, trust).pem, certificate=certificate, key=key)


def pair(certificate):
    return certificate.certificate, certificate.key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


# Our own two sides


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_mutual_tls_of_all_five_services(certificates, tmp_path, version):
    called = certificates.call("client")
    tls = certificates.listen(mutual=True, version=version)
    with PracticePacs(tls=tls) as pacs, Receiver(tmp_path / "moved", tls=tls) as receiver:
        node = replace(pacs.node, tls=called)
        pacs.know(replace(receiver.node, tls=called))
        assert echo(node) == 0x0000
        assert store(node, SERIES).sent == 3
        assert find_studies(node)[0].StudyInstanceUID == STUDY_UID
        assert get_study(node, STUDY_UID, tmp_path / "got").received == 3
        assert move_study(node, STUDY_UID, receiver).received == 3
        assert (
            dcmread(tmp_path / "moved" / f"{SERIES[0].SOPInstanceUID}.dcm").PixelData
            == SERIES[0].PixelData
        )


def test_a_healthy_tls_pacs_has_no_warning(certificates):
    with PracticePacs(tls=certificates.listen(mutual=True)) as pacs:
        found = diagnose(replace(pacs.node, tls=certificates.call("client")))
    assert {row.outcome for row in found.rows} == {"ok"}
    assert "TLSv1.3" in found["TLS"].seen


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_name_can_be_read_on_the_way_only_without_tls(certificates, tmp_path, encrypted):
    server, client = (certificates.listen(), certificates.call()) if encrypted else (None, None)
    on_the_way = []

    def relay(peer):
        with socket.create_connection(("127.0.0.1", receiver.node.port)) as onward:
            while True:
                for ready in select.select([peer, onward], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    on_the_way.append(data)
                    (onward if ready is peer else peer).sendall(data)

    with Receiver(tmp_path, tls=server) as receiver, listening(relay) as node:
        store(replace(node, ae_title="MAGICIAN", tls=client), SERIES)
    assert len(receiver.received) == 3
    assert (b"Phantom" in b"".join(on_the_way)) is not encrypted


def test_a_caller_that_stalls_in_the_handshake_stops_nobody_else(certificates):
    with PracticePacs(tls=certificates.listen()) as pacs:
        with socket.create_connection(("127.0.0.1", pacs.node.port)):
            assert echo(replace(pacs.node, tls=certificates.call())) == 0x0000


def test_a_listener_says_in_its_log_whom_it_turned_away(certificates, caplog):
    with PracticePacs(tls=certificates.listen(mutual=True)) as pacs:
        with pytest.raises(TlsFailure):
            echo(replace(pacs.node, tls=certificates.call()))
        with pytest.raises(TlsFailure):
            echo(replace(pacs.node, tls=certificates.call("stranger")))
    assert "PRACTICE turned 127.0.0.1 away: it shows no certificate" in caplog.text
    assert "its certificate is not good (unable to get local issuer certificate)" in caplog.text


def test_tls_1_1_is_refused(certificates):
    for context in (certificates.listen(), certificates.call(), client_tls()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_contexts_of_the_wrong_side_are_refused(certificates, tmp_path):
    with pytest.raises(ValueError, match="client_tls"):
        Node("A", "h", 104, tls=certificates.listen())
    with pytest.raises(ValueError, match="server_tls"), Receiver(tmp_path, tls=certificates.call()):
        pass


def test_files_that_are_no_certificates_are_named(certificates, tmp_path):
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(TlsFailure, match="text.pem can't be used as an authority"):
        client_tls(ca=tmp_path / "text.pem")
    with pytest.raises(TlsFailure, match="missing.pem can't be used as an authority"):
        client_tls(ca=tmp_path / "missing.pem")
    with pytest.raises(TlsFailure, match="a certificate and its own private key"):
        server_tls(certificates.server.certificate, certificates.client.key)


# Each failure has its cause, and a side that must change something


@contextmanager
def tls_pacs(tls, called):
    with PracticePacs(tls=tls) as pacs:
        yield replace(pacs.node, tls=called, associate_s=30)


def fails(node, side, match):
    with pytest.raises(TlsFailure, match=match):
        echo(node)
    found = diagnose(node)
    row = found.stopped_at
    assert (row.layer, row.side) == ("TLS", side)
    assert found["TCP"].outcome == "ok"
    assert found["association"].outcome == "not tried"


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_we_show_no_certificate(certificates, version):
    with tls_pacs(certificates.listen(mutual=True, version=version), certificates.call()) as node:
        fails(
            node,
            "we",
            r"wants (to see )?a certificate of ours.*"
            r"client_tls\(ca=..., certificate=..., key=...\)",
        )


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_our_certificate_is_of_an_authority_that_the_pacs_does_not_know(certificates, version):
    with tls_pacs(
        certificates.listen(mutual=True, version=version), certificates.call("stranger")
    ) as node:
        fails(node, "we, or the PACS", "does not know the authority that signed our certificate")


def test_the_refusal_of_our_certificate_is_lost_on_the_way(certificates, monkeypatch):
    """As TLS 1.3 has it, the refusal comes after the handshake; a reset of the connection can
    overtake it.
    """

    def reset(connection, nr_bytes):
        connection.failure = ConnectionResetError()
        raise connection.failure

    monkeypatch.setattr(Connection, "recv", reset)
    with tls_pacs(certificates.listen(mutual=True), certificates.call("stranger")) as node:
        with pytest.raises(
            TlsFailure, match="does not know the authority that signed our certificate"
        ):
            echo(node)


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_our_certificate_has_expired(certificates, version):
    with tls_pacs(
        certificates.listen(mutual=True, version=version), certificates.call("expired")
    ) as node:
        fails(node, "we", "our certificate has expired")


def test_we_do_not_know_the_authority_of_the_pacs(certificates):
    with tls_pacs(certificates.listen(), certificates.call(trust="theirs")) as node:
        fails(
            node,
            "we",
            r"we do not know the authority that signed its certificate.*client_tls\(ca=...\)",
        )


def test_certificate_of_the_pacs_has_expired(certificates):
    with tls_pacs(certificates.listen("expired"), certificates.call()) as node:
        fails(node, "the PACS", "period of its certificate is over.*must renew it")


def test_certificate_of_the_pacs_is_made_out_to_another_host(certificates):
    with tls_pacs(certificates.listen("elsewhere"), certificates.call()) as node:
        fails(
            node,
            "we, or the PACS",
            "its certificate is not made out to '127.0.0.1'.*by the name in its certificate",
        )


def test_versions_have_nothing_in_common(certificates):
    called = certificates.call()
    called.minimum_version = ssl.TLSVersion.TLSv1_3
    with tls_pacs(certificates.listen(version=ssl.TLSVersion.TLSv1_2), called) as node:
        fails(node, "the PACS", "no version of TLS in common")


def test_plain_dicom_is_spoken_to_a_tls_port(certificates):
    with tls_pacs(certificates.listen(mutual=True), None) as node:
        fails(node, "we", r"it expects TLS, and we spoke plain DICOM.*tls=client_tls\(ca=...\)")


def test_tls_is_spoken_to_a_plain_port(certificates):
    with PracticePacs() as pacs:
        fails(
            replace(pacs.node, tls=certificates.call()), "we", "does not speak TLS.*leave tls out"
        )


def test_tls_is_spoken_to_a_port_that_hangs_up(certificates):
    with listening(hangs_up, tls=certificates.call()) as node:
        fails(node, "we, or the PACS", "it ended the handshake.*leave tls out")


def test_a_port_that_hangs_up_is_not_taken_for_one_with_tls():
    with (
        listening(hangs_up) as node,
        pytest.raises(AssociationAborted, match="without a DICOM answer"),
    ):
        echo(node)


def test_peer_stalls_in_the_handshake(certificates):
    with listening(says(b""), tls=certificates.call(), associate_s=0.5) as node:
        with pytest.raises(
            PacsTimeout, match=r"did not finish the TLS handshake within 0.5 s \(associate_s\)"
        ):
            echo(node)
        assert diagnose(node).stopped_at.layer == "TLS"


# DCMTK, both directions


def dcmtk_tls(certificate, authority):
    return ["+tls", certificate.key, certificate.certificate, "+cf", authority.pem]


def run(*command):
    program = [require_program(command[0]), *map(str, command[1:])]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


def test_dcmtk_echoscu_and_storescu_call_us(certificates, tmp_path):
    folder = write_series(SERIES, tmp_path / "ct")
    tls = dcmtk_tls(certificates.client, certificates.ours)
    with PracticePacs(tls=certificates.listen(mutual=True)) as pacs:
        address = ["-aec", "PRACTICE", "127.0.0.1", pacs.node.port]
        echoed = run("echoscu", *tls, *address)
        assert echoed.returncode == 0, echoed.stderr
        stored = run("storescu", *tls, *address, "+sd", folder)
        assert stored.returncode == 0, stored.stderr
        assert len(list(pacs.folder.iterdir())) == 3


def test_dcmtk_caller_without_our_authority_is_turned_away(certificates):
    tls = dcmtk_tls(certificates.stranger, certificates.ours)
    with PracticePacs(tls=certificates.listen(mutual=True)) as pacs:
        assert run("echoscu", *tls, "-aec", "PRACTICE", "127.0.0.1", pacs.node.port).returncode != 0


@contextmanager
def dcmtk_storescp(folder, certificate, authority):
    port = free_port()
    command = [
        require_program("storescp"),
        *map(str, dcmtk_tls(certificate, authority)),
        "-od",
        str(folder),
        str(port),
    ]
    with running(command, port, stderr=subprocess.DEVNULL):
        yield Node("STORESCP", "127.0.0.1", port, associate_s=30)


def test_we_store_to_dcmtk_storescp(certificates, tmp_path):
    with dcmtk_storescp(tmp_path, certificates.server, certificates.ours) as node:
        node = replace(node, tls=certificates.call("client"))
        assert store(node, SERIES).sent == 3
        assert diagnose(node).ok
    assert len(list(tmp_path.iterdir())) == 3


REFUSED = pytest.mark.parametrize(
    ("called", "side", "match"),
    [
        (lambda c: c.call(), "we", "wants (to see )?a certificate of ours"),
        (
            lambda c: c.call("stranger"),
            "we, or the PACS",
            "does not know the authority|refuses our certificate",
        ),
        (lambda c: c.call("client", trust="theirs"), "we", "we do not know the authority"),
        (lambda c: None, "we", "it expects TLS"),
    ],
    ids=["no certificate", "wrong certificate", "wrong authority", "plain"],
)


@REFUSED
def test_dcmtk_storescp_refuses_us(certificates, tmp_path, called, side, match):
    with dcmtk_storescp(tmp_path, certificates.server, certificates.ours) as node:
        fails(replace(node, tls=called(certificates)), side, match)


def test_practice_pacs_moves_to_dcmtk_storescp(certificates, tmp_path):
    with (
        dcmtk_storescp(tmp_path, certificates.server, certificates.ours) as node,
        PracticePacs() as pacs,
    ):
        destination = replace(node, tls=certificates.call("client"))
        pacs.add(SERIES)
        pacs.know(destination)
        assert move_study(pacs.node, STUDY_UID, destination).received == 3
    assert len(list(tmp_path.iterdir())) == 3


# Orthanc, both directions


@pytest.fixture(scope="module")
def orthanc(certificates, tmp_path_factory):
    port = free_port()
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates.server.certificate),
        "DicomTlsPrivateKey": str(certificates.server.key),
        "DicomTlsTrustedCertificates": str(certificates.ours.pem),
        "DicomModalities": {
            "MAGICIAN": ["MAGICIAN", "127.0.0.1", free_port()],
            "INBOX": {"AET": "INBOX", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True},
        },
    }
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), known={}, settings=settings) as node:
        yield replace(node, associate_s=30), port


def test_orthanc_and_we_over_mutual_tls(orthanc, certificates, tmp_path):
    node, port = orthanc
    node = replace(node, tls=certificates.call("client"))
    assert diagnose(node).ok
    store(node, SERIES)
    assert find_studies(node, accession_number="A-1")[0].StudyInstanceUID == STUDY_UID
    assert get_study(node, STUDY_UID, tmp_path / "got").received == 3
    with Receiver(
        tmp_path / "moved", ae_title="INBOX", port=port, tls=certificates.listen(mutual=True)
    ) as receiver:
        assert move_study(node, STUDY_UID, receiver).received == 3


@REFUSED
def test_orthanc_refuses_us(orthanc, certificates, called, side, match):
    fails(replace(orthanc[0], tls=called(certificates)), side, match)
