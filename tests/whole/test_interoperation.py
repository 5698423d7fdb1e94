"""Peers that nobody here wrote: DCMTK's clients against the practice PACS, our client against
Orthanc.
"""

import os
import subprocess

import pytest
from helpers import ct_series, lung_segmentation, require_program, truth_labels, write_series
from orthanc import free_port, running_orthanc
from pydicom import dcmread

from magician.checks.round_trip import verify_round_trip
from magician.client.echo import echo
from magician.client.find import find_instances, find_series, find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.ct.volume import read_series
from magician.dimse.receiver import Receiver
from magician.errors import AssociationAborted, StudyNotFound, UnknownMoveDestination
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.careless import careless_overlay
from magician.results.make import make_results

SERIES = ct_series(slices=8)
STUDY_UID, SERIES_UID = SERIES[0].StudyInstanceUID, SERIES[0].SeriesInstanceUID
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def dcmtk(program, pacs, *arguments):
    """Run one of DCMTK's clients against a practice PACS; returns what it printed."""
    node = pacs.node
    command = [
        require_program(program),
        "-v",
        "-aet",
        "DCMTK",
        "-aec",
        node.ae_title,
        node.host,
        str(node.port),
    ]
    result = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        check=False,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        pacs.add(SERIES)
        yield pacs


def test_dcmtk_echoscu(pacs):
    assert "Received Echo Response (Success)" in dcmtk("echoscu", pacs)


def test_dcmtk_echoscu_with_a_wrong_title_is_rejected(pacs):
    command = [require_program("echoscu"), "-aec", "WRONG", "127.0.0.1", str(pacs.node.port)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode != 0
    assert "Called AE Title Not Recognized" in result.stderr


def test_dcmtk_findscu_at_each_level(pacs, tmp_path):
    levels = {
        "STUDY": ["AccessionNumber=A-1", "StudyInstanceUID", "NumberOfStudyRelatedInstances"],
        "SERIES": [f"StudyInstanceUID={STUDY_UID}", "SeriesInstanceUID", "Modality"],
        "IMAGE": [
            f"StudyInstanceUID={STUDY_UID}",
            f"SeriesInstanceUID={SERIES_UID}",
            "SOPInstanceUID",
        ],
    }
    counts = {}
    for level, keys in levels.items():
        folder = tmp_path / level
        folder.mkdir()
        arguments = [x for key in [f"QueryRetrieveLevel={level}", *keys] for x in ("-k", key)]
        dcmtk("findscu", pacs, "-S", "-X", "-od", folder, *arguments)
        counts[level] = len(list(folder.iterdir()))
    assert counts == {"STUDY": 1, "SERIES": 1, "IMAGE": 8}
    (answer,) = (tmp_path / "STUDY").iterdir()
    assert dcmread(answer).NumberOfStudyRelatedInstances == 8


def received_by_dcmtk(folder):
    return sorted((dcmread(path) for path in folder.iterdir()), key=lambda ds: ds.InstanceNumber)


def test_dcmtk_getscu(pacs, tmp_path):
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}"]
    dcmtk("getscu", pacs, "-S", "-od", tmp_path, *keys)
    assert received_by_dcmtk(tmp_path) == SERIES


def test_dcmtk_movescu(pacs, tmp_path):
    port = free_port()
    pacs.know(Node("DCMTK", "127.0.0.1", port))
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}"]
    output = dcmtk("movescu", pacs, "-S", "+P", port, "-aem", "DCMTK", "-od", tmp_path, *keys)
    assert "Received Final Move Response (Success)" in output
    assert received_by_dcmtk(tmp_path) == SERIES


def test_dcmtk_storescu(tmp_path):
    folder = write_series(SERIES, tmp_path / "ct")
    with PracticePacs() as pacs:
        dcmtk("storescu", pacs, "+sd", folder)
        (study,) = find_studies(pacs.node)
        assert study.NumberOfStudyRelatedInstances == 8
        kept = {path.stem: dcmread(path) for path in pacs.folder.iterdir()}
    assert all(kept[ds.SOPInstanceUID] == ds for ds in SERIES)


@pytest.fixture(scope="module")
def inbox_port():
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, inbox_port):
    known = {"MAGICIAN": free_port(), "INBOX": inbox_port, "DEAD": free_port()}
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), known=known) as node:
        store(node, SERIES)
        yield node


def test_orthanc_answers_our_echo(orthanc):
    assert echo(orthanc) == 0x0000


def test_orthanc_answers_our_queries(orthanc):
    (study,) = find_studies(orthanc, accession_number="A-1", patient_name="phantom*", modality="CT")
    assert study.StudyInstanceUID == STUDY_UID
    assert study.NumberOfStudyRelatedInstances == 8
    assert [series.Modality for series in find_series(orthanc, STUDY_UID)] == ["CT"]
    assert len(find_instances(orthanc, STUDY_UID, SERIES_UID)) == 8


def test_orthanc_holds_no_such_study(orthanc, tmp_path):
    with pytest.raises(StudyNotFound):
        find_studies(orthanc, accession_number="B-9")
    with pytest.raises(StudyNotFound):
        get_study(orthanc, "1.2.3", tmp_path)


def test_orthanc_sends_by_get(orthanc, tmp_path):
    retrieval = get_study(orthanc, STUDY_UID, tmp_path)
    arrived = {path.stem: dcmread(path) for path in retrieval.paths}
    assert retrieval.received == 8
    assert all(arrived[ds.SOPInstanceUID].PixelData == ds.PixelData for ds in SERIES)


def test_orthanc_sends_by_move_to_our_receiver(orthanc, inbox_port, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX", port=inbox_port) as receiver:
        assert move_study(orthanc, STUDY_UID, receiver).received == 8
        assert {path.stem for path in receiver.received} == {ds.SOPInstanceUID for ds in SERIES}


@pytest.mark.parametrize("title", ["NOBODY", "DEAD"])
def test_orthanc_does_not_know_or_does_not_reach_the_destination(orthanc, title):
    with pytest.raises(
        UnknownMoveDestination, match=f"does not know the AE title '{title}', or could not reach it"
    ):
        move_study(orthanc, STUDY_UID, Node(title, "127.0.0.1", 11112))


def test_orthanc_does_not_know_us(orthanc):
    stranger = Node(orthanc.ae_title, orthanc.host, orthanc.port, local_ae_title="STRANGER")
    assert echo(stranger) == 0x0000
    with pytest.raises(AssociationAborted, match="ask its administrator to allow that"):
        find_studies(stranger)


def test_results_come_back_from_orthanc_as_they_were_made(orthanc, tmp_path):
    volume = read_series(write_series(SERIES, tmp_path))
    results = make_results(volume, lung_segmentation(volume, truth_labels(list(volume.headers))))
    store(orthanc, results.all)
    proof = verify_round_trip(orthanc, volume, results)
    assert proof.ok, proof


def test_orthanc_takes_careless_images_without_a_word(orthanc, tmp_path):
    volume = read_series(write_series(SERIES, tmp_path))
    careless = careless_overlay(
        volume, lung_segmentation(volume, truth_labels(list(volume.headers)))
    )
    assert store(orthanc, careless).warnings == ()
