"""Sending and receiving objects: what is refused, what is reported, and what lies in the folder
afterwards.
"""

import builtins
import io
import threading
from collections import Counter
from pathlib import Path

import pytest
from helpers import ct_series
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)
from pynetdicom import AE, evt

from magician.client.store import Stored, accepted_contexts, store
from magician.dimse import reception
from magician.dimse.association import associate
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationRejected,
    DimseFailure,
    MagicianError,
    NotDeidentified,
    PacsUnreachable,
    ServiceNotAccepted,
)
from magician.files import instance_path, read_whole, write_whole
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path / "inbox", ae_title="INBOX") as receiver:
        yield receiver


class Peer:
    """A Storage SCP of pynetdicom's that answers each C-STORE with the next of these statuses."""

    def __init__(self, *statuses, syntaxes=(ExplicitVRLittleEndian,)):
        self.statuses = list(statuses)
        self.datasets = []
        self.ae = AE(ae_title="PEER")
        self.ae.add_supported_context(CTImageStorage, list(syntaxes))

    def __enter__(self):
        handlers = [(evt.EVT_C_STORE, self.store)]
        self.server = self.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return Node("PEER", "127.0.0.1", self.server.socket.getsockname()[1])

    def __exit__(self, *exception):
        self.server.shutdown()

    def store(self, event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.datasets.append(dataset)
        return self.statuses.pop(0) if self.statuses else 0x0000


def test_what_is_sent_arrives_byte_for_byte(receiver, small_series):
    assert store(receiver.node, small_series) == Stored(12)
    for sent, path in zip(small_series, receiver.received, strict=True):
        arrived = dcmread(path)
        assert path.name == f"{sent.SOPInstanceUID}.dcm"
        assert arrived == sent
        assert arrived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_files_are_sent_as_data_sets_are(receiver, small_folder, small_series):
    paths = sorted(small_folder.iterdir())
    assert store(receiver.node, paths).sent == len(paths)
    assert {path.stem for path in receiver.received} == {ds.SOPInstanceUID for ds in small_series}


def test_a_file_is_opened_for_its_header_and_once_to_be_sent(receiver, small_folder, monkeypatch):
    opened, original = Counter(), builtins.open

    def count(file, *arguments, **keywords):
        opened[str(file)] += 1
        return original(file, *arguments, **keywords)

    paths = sorted(small_folder.iterdir())
    monkeypatch.setattr(builtins, "open", count)
    monkeypatch.setattr(io, "open", count)
    store(receiver.node, paths)
    assert {opened[str(path)] for path in paths} == {2}


def test_a_file_that_was_read_whole_can_be_sent_again(receiver, small_folder):
    path = sorted(small_folder.iterdir())[0]
    dataset = read_whole(path)
    assert dataset == dcmread(path)
    assert dataset.file_meta == dcmread(path).file_meta
    assert store(receiver.node, [dataset]).sent == 1


def test_sending_nothing_needs_no_pacs():
    assert store(Node("NOBODY", "127.0.0.1", 1), []) == Stored(0)


def test_accepted_contexts_of_nothing_need_no_pacs():
    assert accepted_contexts(Node("NOBODY", "127.0.0.1", 1), []) == []


@pytest.mark.parametrize(
    "one", [ct_series(slices=1)[0], "folder", Path("folder")], ids=["data set", "text", "path"]
)
def test_one_object_where_a_list_is_meant(one):
    with pytest.raises(TypeError, match=r"put the one into \[ \]"):
        store(Node("NOBODY", "127.0.0.1", 1), one)


def test_an_object_that_can_not_be_encoded_is_named(receiver, small_series):
    small_series[1].Rows = None
    small_series[1]["Rows"]._value = "sixty-four"
    with pytest.raises(
        MagicianError,
        match=f"{small_series[1].SOPInstanceUID} can't be sent: this .*; 1 of 12 objects",
    ):
        store(receiver.node, small_series)


def test_a_receiver_does_not_listen_on_an_empty_host(tmp_path):
    with pytest.raises(ValueError, match="every address of this computer"):
        Receiver(tmp_path, host="").__enter__()


def test_an_explicit_object_goes_to_a_peer_that_takes_only_implicit(small_series):
    peer = Peer(syntaxes=[ImplicitVRLittleEndian])
    with peer as node:
        store(node, small_series[:1])
    assert peer.datasets[0].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert peer.datasets[0].PixelData == small_series[0].PixelData


def test_peer_stores_with_a_warning(small_series):
    with Peer(0x0000, 0xB000) as node:
        stored = store(node, small_series[:3])
    assert stored.sent == 3
    assert stored.warnings == (
        f"{small_series[1].SOPInstanceUID}: 0xB000 (Stored, with a warning: some values were "
        f"coerced)",
    )


def test_peer_refuses_one_object_and_the_others_are_sent(small_series):
    peer = Peer(0x0000, 0xA700, 0x0000)
    with peer as node:
        with pytest.raises(
            DimseFailure, match=r"stored 2 of 3 objects and refused 1: .*0xA700"
        ) as caught:
            store(node, small_series[:3])
    assert caught.value.status == 0xA700
    assert len(peer.datasets) == 3


def test_peer_does_not_take_the_kind_of_object(small_series):
    small_series[1].file_meta.TransferSyntaxUID = JPEGLSLossless
    peer = Peer()
    with peer as node:
        with pytest.raises(
            ServiceNotAccepted, match=r"CT Image Storage as JPEG-LS.*\(1\); nothing was sent"
        ):
            store(node, small_series[:2])
    assert peer.datasets == []


def test_peer_takes_none_of_the_kinds(small_series):
    small_series[0].file_meta.TransferSyntaxUID = JPEGLSLossless
    with Peer() as node:
        with pytest.raises(ServiceNotAccepted, match=r"none of the transfer syntaxes.*JPEG-LS"):
            store(node, small_series[:1])


def test_which_kinds_a_peer_takes_is_told_without_sending(small_series):
    small_series[1].file_meta.TransferSyntaxUID = JPEGLSLossless
    peer = Peer()
    with peer as node:
        rows = accepted_contexts(node, small_series)
    assert [(row.sop_class, row.objects, row.accepted) for row in rows] == [
        ("CT Image Storage", 11, True),
        ("CT Image Storage", 1, False),
    ]
    assert peer.datasets == []


def test_a_file_that_is_not_dicom_is_named_before_anything_is_sent(
    receiver, small_folder, tmp_path
):
    wrong = tmp_path / "notes.txt"
    wrong.write_text("not DICOM")
    with pytest.raises(MagicianError, match="notes.txt is not a DICOM file; nothing was sent"):
        store(receiver.node, [*small_folder.iterdir(), wrong])
    assert receiver.received == []


def test_a_data_set_without_file_meta_is_named(receiver, small_series):
    del small_series[0].file_meta
    with pytest.raises(MagicianError, match="no TransferSyntaxUID in its file_meta"):
        store(receiver.node, small_series)


def test_identified_objects_do_not_leave_this_computer(small_series):
    del small_series[3].PatientIdentityRemoved
    with pytest.raises(
        NotDeidentified, match=r"1 object\(s\) do not say PatientIdentityRemoved=YES"
    ):
        store(Node("PACS", "192.0.2.1", 104), small_series)


def test_identified_objects_leave_when_the_caller_says_so(small_series):
    del small_series[3].PatientIdentityRemoved
    with pytest.raises(PacsUnreachable):  # the guard let them through to a host that does not exist
        store(Node("PACS", "pacs.invalid", 104), small_series, allow_identified=True)


def test_identified_objects_may_go_to_this_computer(receiver, small_series):
    del small_series[0].PatientIdentityRemoved
    assert store(receiver.node, small_series[:1]).sent == 1


def test_receiver_is_called_by_another_title(receiver, small_series):
    with pytest.raises(AssociationRejected, match="does not go by the AE title 'OTHER'"):
        store(Node("OTHER", "127.0.0.1", receiver.node.port), small_series)


def test_receiver_gets_the_same_object_twice(receiver, small_series):
    store(receiver.node, [small_series[0], small_series[0]])
    assert len(receiver.received) == 1


def send_raw(node, dataset, *, affected=None):
    """Send a data set as a hostile peer can: the request may name another UID than the object."""
    with associate(node, [dataset.SOPClassUID]) as association:
        if affected is not None:
            original, association.dimse.send_msg = association.dimse.send_msg, None

            def send(primitive, context_id):
                primitive._affected_sop_instance_uid = affected
                return original(primitive, context_id)

            association.dimse.send_msg = send
        return association.send_c_store(dataset).Status


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../escaped", "/etc/escaped", "1.2/../../3", "1..2", "1.2."])
def test_hostile_instance_uid_writes_nothing(receiver, small_series, tmp_path, uid):
    before = set(tmp_path.rglob("*"))
    small_series[0].SOPInstanceUID = small_series[0].file_meta.MediaStorageSOPInstanceUID = uid
    with pytest.raises(DimseFailure, match="0xA900"):
        store(receiver.node, small_series[:1])
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("uid", ["1" * 65, "", "1.2\x00", "1.2\n", "\u0661.2"])
def test_text_that_is_no_uid_becomes_no_file_name(uid, tmp_path):
    with pytest.raises(ValueError, match="is not a UID"):
        instance_path(tmp_path, uid)


def test_an_object_that_is_not_what_its_request_says_is_refused(receiver, small_series):
    assert send_raw(receiver.node, small_series[0], affected="1.2.3") == 0xA900
    assert list(receiver.folder.iterdir()) == []


def test_disk_is_full(receiver, small_series, monkeypatch):
    def no_space(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reception, "write_whole", no_space)
    with pytest.raises(DimseFailure, match="0xA700"):
        store(receiver.node, small_series[:2])
    assert receiver.received == []


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "1.2.dcm"

    def fail(self, target):
        raise OSError("interrupted")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="interrupted"):
        write_whole(path, b"content")
    assert list(tmp_path.iterdir()) == []


def test_two_senders_at_once(receiver):
    many = [ct_series(slices=4, seed=seed) for seed in range(4)]
    threads = [threading.Thread(target=store, args=(receiver.node, series)) for series in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = {ds.SOPInstanceUID for series in many for ds in series}
    assert {path.stem for path in receiver.received} == sent


def test_port_is_taken(receiver):
    with pytest.raises(MagicianError, match=f"can't listen on 127.0.0.1:{receiver.node.port}"):
        PracticePacs(port=receiver.node.port).start()


def test_receiver_stops_listening_at_the_end_of_its_block(tmp_path, small_series):
    with Receiver(tmp_path) as receiver:
        node = receiver.node
    with pytest.raises(PacsUnreachable):
        store(node, small_series)
