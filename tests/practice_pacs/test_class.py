"""Thirty learners at once, who share one practice PACS: each gets their study whole, and
everything that they send arrives.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from helpers import ct_series, lung_segmentation, truth_labels, write_series
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from magician.client.echo import echo
from magician.client.find import find_instances, find_series, find_studies
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.ct.volume import read_series
from magician.errors import AssociationRejected
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import make_results
from magician.upper_layer.limits import Limits

LEARNERS = 30


@pytest.fixture(scope="module")
def studies():
    """A small study for each learner, with an accession number of its own."""
    return [
        ct_series(slices=5, rows=24, columns=24, seed=number, accession_number=f"A{number}")
        for number in range(LEARNERS)
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each learner makes of one and the same study: overlay, SEG, SR and the CT, in a study of
    the learner's.
    """
    series = ct_series(slices=3, rows=48, columns=48, spacing_mm=(12.0, 2.2, 2.2), seed=99)
    volume = read_series(write_series(series, tmp_path_factory.mktemp("source")))
    segmentation = lung_segmentation(volume, truth_labels(series))
    return [
        make_results(volume, segmentation, learner=f"Learner {number}", include_ct=True).all
        for number in range(LEARNERS)
    ]


def all_at_once(work):
    """Let every learner do the same thing at the same moment; returns what they got, or raises what
    one met.
    """
    ready = threading.Barrier(LEARNERS)

    def one(number):
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(LEARNERS) as pool:
        return list(pool.map(one, range(LEARNERS)))


@contextmanager
def patient_pacs():
    """A PACS for a class on a computer that is busy with other things too; yields it and a node
    that waits for it.
    """
    with PracticePacs(limits=Limits(associate_s=120)) as pacs:
        yield pacs, replace(pacs.node, connect_s=120, associate_s=120, dimse_s=600)


def content(path):
    """The bytes of a file after its header (PS3.10 7.1)."""
    header = dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    # 128 of preamble, 4 of "DICM", 12 of the length itself
    return path.read_bytes()[144 + header :]


def encoded(datasets):
    """The bytes that each data set has on the network and in a file, by SOP Instance UID."""
    return {
        ds.SOPInstanceUID: encode(ds, is_implicit_vr=False, is_little_endian=True)
        for ds in datasets
    }


def test_thirty_learners_get_their_studies_at_once(studies, tmp_path):
    with patient_pacs() as (pacs, node):
        pacs.add(ds for study in studies for ds in study)

        def retrieve(number):
            (study,) = find_studies(node, accession_number=f"A{number}")
            return get_study(node, study.StudyInstanceUID, tmp_path / str(number), progress=False)

        all_at_once(retrieve)
    for number, study in enumerate(studies):
        arrived = {path.stem: content(path) for path in (tmp_path / str(number)).iterdir()}
        assert arrived == encoded(study)


def test_thirty_learners_get_the_same_study_at_once(studies, tmp_path):
    study = studies[0]
    uid = study[0].StudyInstanceUID
    with patient_pacs() as (pacs, node):
        pacs.add(study)
        all_at_once(lambda number: get_study(node, uid, tmp_path / str(number), progress=False))
    for number in range(LEARNERS):
        assert {path.stem: content(path) for path in (tmp_path / str(number)).iterdir()} == encoded(
            study
        )


def test_thirty_learners_send_their_results_of_the_same_study_at_once(results):
    with patient_pacs() as (pacs, node):
        all_at_once(lambda number: store(node, results[number], progress=False))
        assert len(find_studies(node)) == LEARNERS
        for number, sent in enumerate(results):
            (study,) = find_studies(node, patient_name=f"Learner {number}^")
            found = [
                instance.SOPInstanceUID
                for series in find_series(node, study.StudyInstanceUID)
                for instance in find_instances(
                    node, study.StudyInstanceUID, series.SeriesInstanceUID
                )
            ]
            assert sorted(found) == sorted(ds.SOPInstanceUID for ds in sent)
        kept = {path.stem: content(path) for path in pacs.folder.iterdir()}
    assert kept == encoded(ds for sent in results for ds in sent)


def test_thirty_learners_send_the_same_object_at_once(studies):
    (ds, *_) = studies[0]
    with patient_pacs() as (pacs, node):
        answers = all_at_once(lambda number: store(node, [ds], progress=False).sent)
        (found,) = find_studies(node)
        (kept,) = pacs.folder.iterdir()
        assert content(kept) == encoded([ds])[ds.SOPInstanceUID]
    assert answers == [1] * LEARNERS
    assert found.NumberOfStudyRelatedInstances == 1


# What the teacher sees


@pytest.fixture
def log(caplog):
    """The lines of practice PACS so far. The last ones are there when the PACS has stopped."""
    caplog.set_level(logging.INFO, logger="magician")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "magician.practice_pacs.association_log"
    ]


def test_each_association_leaves_a_line_that_says_who_did_what(studies, tmp_path, log):
    with PracticePacs() as pacs:
        node = Node(pacs.node.ae_title, pacs.node.host, pacs.node.port, local_ae_title="ADA")
        store(node, studies[0])
        get_study(node, studies[0][0].StudyInstanceUID, tmp_path)
    assert log() == [
        "'ADA' at 127.0.0.1: 5 C-STORE; released",
        "'ADA' at 127.0.0.1: 3 C-FIND; released",  # of the study, its series and their images
        "'ADA' at 127.0.0.1: 1 C-GET, 5 objects sent; released",
    ]


def test_a_refused_caller_leaves_a_line(log):
    with PracticePacs(allowed_ae_titles=["ADA"]) as pacs:
        with pytest.raises(AssociationRejected):
            echo(pacs.node)
    assert log() == ["'MAGICIAN' at 127.0.0.1: refused (Calling AE title not recognised)"]


def test_stopping_breaks_off_what_is_still_open(log):
    ae = AE("IDLE")
    ae.add_requested_context(Verification)
    others = set(threading.enumerate())  # of peers that other tests left hanging
    with PracticePacs() as pacs:
        association = ae.associate(pacs.node.host, pacs.node.port, ae_title=pacs.node.ae_title)
        association.send_c_echo()
    association.join(timeout=10)
    assert association.is_aborted
    assert not [
        thread for thread in set(threading.enumerate()) - others if "AcceptorThread" in thread.name
    ]
    assert log() == ["'IDLE' at 127.0.0.1: 1 C-ECHO; broken off"]


def test_the_pacs_knows_which_objects_went_out(studies, tmp_path):
    fetched, asked_for = studies[:2]
    with PracticePacs() as pacs:
        pacs.add([*fetched, *asked_for])
        find_studies(pacs.node, accession_number="A1")
        assert pacs.sent == frozenset()
        get_study(pacs.node, fetched[0].StudyInstanceUID, tmp_path)
        assert pacs.sent == {ds.SOPInstanceUID for ds in fetched}
