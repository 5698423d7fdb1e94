"""Storage of the unknown: what a listener takes up because it is proposed, and what it does not."""

import logging
from contextlib import contextmanager

import pytest
from helpers import ct_series
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage, Verification, uid_to_service_class

from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.errors import ServiceNotAccepted
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.unknown_storage import is_unknown_storage

PRIVATE, PRIVATE_SYNTAX = "1.3.12.2.1107.5.9.1", "1.2.840.113619.5.2"
STORAGE = "1.2.840.10008.5.1.4.1.1."
TAKEN_UP = {
    "private": PRIVATE,
    "Standalone Overlay, retired": f"{STORAGE}8",
    "Ultrasound Image, retired": f"{STORAGE}6",
    "Waveform, a trial": f"{STORAGE}9.1",
    "retired without a name": f"{STORAGE}12.77",
    "Hardcopy Grayscale Image, retired": "1.2.840.10008.5.1.1.29",
    "RT Beams Delivery Instruction, a trial": "1.2.840.10008.5.1.4.34.1",
    "DICOS CT Image": f"{STORAGE}501.1",
    "of a newer edition": f"{STORAGE}999.7",
}
NOT_TAKEN_UP = {
    "Modality Worklist": "1.2.840.10008.5.1.4.31",
    "Modality Performed Procedure Step": "1.2.840.10008.3.1.2.3.3",
    "Basic Film Session": "1.2.840.10008.5.1.1.1",
    "Basic Grayscale Print Management Meta": "1.2.840.10008.5.1.1.9",
    "Printer, a well-known instance": "1.2.840.10008.5.1.1.17",
    "Storage Commitment Push Model": "1.2.840.10008.1.20.1",
    "Storage Commitment Pull Model, retired": "1.2.840.10008.1.20.2",
    "Patient Root FIND": "1.2.840.10008.5.1.4.1.2.1.1",
    "Protocol Approval FIND": f"{STORAGE}200.4",
    "Hanging Protocol, of no patient": "1.2.840.10008.5.1.4.38.1",
    "Media Storage Directory": "1.2.840.10008.1.3.10",
    "Detached Patient Management, retired": "1.2.840.10008.3.1.2.1.1",
    "a transfer syntax": "1.2.840.10008.1.2.1",
    "the Storage Service Class": "1.2.840.10008.4.2",
    "of a newer edition, elsewhere": "1.2.840.10008.5.1.4.99",
    "no UID": "CT Image Storage",
    "empty": "",
}


@pytest.mark.parametrize("uid", TAKEN_UP.values(), ids=TAKEN_UP)
def test_what_may_be_storage(uid):
    assert is_unknown_storage(uid)


@pytest.mark.parametrize("uid", NOT_TAKEN_UP.values(), ids=NOT_TAKEN_UP)
def test_what_is_known_to_be_something_else(uid):
    assert not is_unknown_storage(uid)


def objects_of(*sop_classes):
    made = ct_series(slices=len(sop_classes), rows=8, columns=8)
    for ds, sop_class in zip(made, sop_classes, strict=True):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    return made


@contextmanager
def listeners(folder, **options):
    with Receiver(folder / "kept", **options) as receiver, PracticePacs(**options) as pacs:
        yield {receiver.node: receiver.folder, pacs.node: pacs.folder}


def accepted(node, *proposals):
    """The contexts that a caller gets who proposes these abstract and transfer syntaxes."""
    ae = AE()
    for abstract_syntax, *syntaxes in proposals:
        ae.add_requested_context(abstract_syntax, syntaxes or [ExplicitVRLittleEndian])
    association = ae.associate(node.host, node.port, ae_title=node.ae_title)
    contexts = [(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts]
    association.release()
    return contexts


def test_both_listeners_keep_objects_of_classes_that_nobody_knows(tmp_path):
    sent = objects_of(CTImageStorage, PRIVATE, f"{STORAGE}8", f"{STORAGE}999.7")
    with listeners(tmp_path) as kept:
        for node, folder in kept.items():
            assert store(node, sent).sent == 4
            assert {path.stem for path in folder.iterdir()} == {ds.SOPInstanceUID for ds in sent}


def test_both_listeners_can_be_told_not_to(tmp_path):
    with listeners(tmp_path, unknown_storage=False) as kept:
        for node, folder in kept.items():
            with pytest.raises(ServiceNotAccepted, match=PRIVATE):
                store(node, objects_of(PRIVATE))
            assert list(folder.iterdir()) == []


def test_what_one_listener_takes_up_is_no_matter_of_the_process(tmp_path):
    with Receiver(tmp_path / "open") as open_to_all, PracticePacs(unknown_storage=False) as pacs:
        assert store(open_to_all.node, objects_of(PRIVATE)).sent == 1
        assert accepted(pacs.node, [PRIVATE], [CTImageStorage]) == [
            (CTImageStorage, ExplicitVRLittleEndian)
        ]
    assert not _config.UNRESTRICTED_STORAGE_SERVICE
    assert uid_to_service_class(PRIVATE).__name__ == "ServiceClass"


def test_services_other_than_storage_stay_refused(tmp_path):
    proposals = [[uid] for uid in NOT_TAKEN_UP.values() if uid[:1].isdigit()]
    with Receiver(tmp_path) as receiver:
        assert accepted(receiver.node, [Verification], *proposals) == [
            (Verification, ExplicitVRLittleEndian)
        ]


def test_of_the_proposed_encodings_one_that_can_be_read_is_agreed(tmp_path):
    with Receiver(tmp_path) as receiver:
        assert accepted(
            receiver.node,
            [PRIVATE, PRIVATE_SYNTAX, ImplicitVRLittleEndian, ExplicitVRLittleEndian],
            [PRIVATE, JPEGLosslessSV1],
        ) == [(PRIVATE, ExplicitVRLittleEndian), (PRIVATE, JPEGLosslessSV1)]


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (PRIVATE_SYNTAX, f"'{PRIVATE_SYNTAX}'"),
        (DeflatedExplicitVRLittleEndian, "Deflated Explicit VR Little Endian"),
        ("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate"),
    ],
)
@pytest.mark.parametrize("unknown_storage", [True, False])
def test_an_encoding_that_can_not_be_read_is_refused_in_words(
    syntax, name, unknown_storage, tmp_path, caplog
):
    with Receiver(tmp_path, unknown_storage=unknown_storage) as receiver:
        assert accepted(
            receiver.node, [Verification], [CTImageStorage, syntax], [f"{STORAGE}8", syntax]
        ) == [(Verification, ExplicitVRLittleEndian)]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    classes = "CT Image Storage" + ", Standalone Overlay Storage" * unknown_storage
    assert line == (
        f"MAGICIAN does not take {classes} from 'PYNETDICOM': it is proposed only as {name}, "
        f"which can't be read here"
    )


def test_an_association_full_of_private_classes(tmp_path, caplog):
    classes = [f"{PRIVATE}.{number}" for number in range(1, 129)]
    sent = objects_of(*classes)
    with Receiver(tmp_path) as receiver:
        assert store(receiver.node, sent).sent == 128
        assert accepted(receiver.node, *([uid, PRIVATE_SYNTAX] for uid in classes)) == []
    (line,) = [r.getMessage() for r in caplog.records if "does not take" in r.getMessage()]
    assert line.count(PRIVATE) == 5
