"""Each fault of the practice PACS is seen over the wire, and `diagnose` finds where it is."""

import threading
import time
from dataclasses import replace

import pytest
from helpers import ct_series

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_series, find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import accepted_contexts, store
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationAborted,
    AssociationRejected,
    DimseFailure,
    IncompleteRetrieve,
    PacsTimeout,
    PacsUnreachable,
    ServiceNotAccepted,
    StudyNotFound,
    UnknownMoveDestination,
)
from magician.practice_pacs import faults
from magician.practice_pacs.faults import FAULTS
from magician.practice_pacs.pacs import PracticePacs

SERIES = ct_series(slices=5)
STUDY = SERIES[0].StudyInstanceUID
OTHERS = [ct_series(slices=1, seed=seed)[0] for seed in range(1, 8)]


@pytest.fixture
def faulty():
    """Start a PACS with one fault that holds the small study; all are stopped at the end."""
    started = []

    def start(fault, *others, **options):
        pacs = PracticePacs(faults=[fault], **options).start()
        started.append(pacs)
        pacs.add([*SERIES, *others])
        return pacs

    yield start
    for pacs in started:
        pacs.stop()


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path / "moved") as receiver:
        yield receiver


def hurried(pacs):
    """The node of a PACS, with little patience."""
    return replace(pacs.node, connect_s=0.5, associate_s=0.5, dimse_s=0.5)


def stopped_at(node):
    row = diagnose(node).stopped_at
    return row.layer, row.side


def warned_of(node):
    return [(row.layer, row.side) for row in diagnose(node).rows if row.outcome == "warning"]


def status_of(error):
    return error.value.status


# The list


def test_an_unknown_fault_is_an_error_that_lists_all():
    with pytest.raises(ValueError, match="'tired' is no fault of a practice PACS") as error:
        PracticePacs(faults=["tired"])
    assert all(repr(name) in str(error.value) for name in FAULTS)


def test_a_fault_is_for_this_computer_only():
    with pytest.raises(ValueError, match="for this computer only"):
        PracticePacs(faults=[faults.NO_SEG], host="0.0.0.0", allowed_ae_titles=["ME"])


def test_every_fault_says_what_the_pacs_does():
    assert all(text.endswith((".", ".)")) and len(text) > 40 for text in FAULTS.values())


def test_without_a_fault_nothing_is_reported():
    with PracticePacs() as pacs:
        pacs.add(SERIES)
        assert {row.outcome for row in diagnose(pacs.node).rows} == {"ok"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stopped_pacs_leaves_no_thread_and_a_free_port(fault):
    before = threading.active_count()
    pacs = PracticePacs(faults=[fault]).start()
    port = pacs.node.port
    diagnose(hurried(pacs))
    pacs.stop()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
    with PracticePacs(port=port) as again:
        assert echo(again.node) == 0


# The port


def test_nothing_listens(faulty):
    node = hurried(faulty(faults.NOTHING_LISTENS))
    with pytest.raises(PacsUnreachable, match="Nothing listens"):
        echo(node)
    assert stopped_at(node) == ("TCP", "we, or the PACS")


def test_packets_are_swallowed(faulty):
    node = hurried(faulty(faults.SWALLOWED))
    started = time.monotonic()
    with pytest.raises(PacsUnreachable, match="firewall"):
        echo(node)
    assert time.monotonic() - started >= 0.45
    assert stopped_at(node) == ("TCP", "we, or the network")


def test_the_port_stays_silent(faulty):
    node = hurried(faulty(faults.SILENT))
    with pytest.raises(PacsTimeout, match="did not answer our association request"):
        echo(node)
    assert stopped_at(node) == ("association", "we, or the PACS")


# Queries


def test_a_calling_title_is_refused_at_the_query_and_not_at_the_echo(faulty):
    pacs = faulty(faults.REFUSED_AT_FIND, allowed_ae_titles=["KNOWN"])
    assert echo(pacs.node) == 0
    with pytest.raises(AssociationAborted):
        find_studies(pacs.node)
    assert stopped_at(pacs.node) == ("C-FIND", "the PACS")


def test_the_calling_title_that_it_knows_is_answered(faulty):
    pacs = faulty(faults.REFUSED_AT_FIND, allowed_ae_titles=["KNOWN"])
    known = replace(pacs.node, local_ae_title="KNOWN")
    assert len(find_studies(known)) == 1
    assert diagnose(known).ok


def test_a_calling_title_that_is_added_later_is_answered(faulty):
    pacs = faulty(faults.REFUSED_AT_FIND)
    pacs.allow("MAGICIAN")
    assert len(find_studies(pacs.node)) == 1


def test_a_calling_title_that_may_not_query_may_not_retrieve(faulty, tmp_path):
    pacs = faulty(faults.REFUSED_AT_FIND, allowed_ae_titles=["KNOWN"])
    with pytest.raises(AssociationAborted):
        get_study(pacs.node, STUDY, tmp_path, progress=False)


def test_a_calling_title_sees_nothing(faulty):
    pacs = faulty(faults.SEES_NOTHING, allowed_ae_titles=["KNOWN"])
    with pytest.raises(StudyNotFound, match="may see it"):
        find_studies(pacs.node)
    assert len(find_studies(replace(pacs.node, local_ae_title="KNOWN"))) == 1


def test_a_query_is_never_answered(faulty):
    node = hurried(faulty(faults.NEVER_ANSWERED))
    with pytest.raises(PacsTimeout, match="did not answer our C-FIND"):
        find_studies(node)
    assert stopped_at(node) == ("C-FIND", "the PACS")


def test_the_keys_of_a_query_are_ignored(faulty, caplog):
    pacs = faulty(faults.KEYS_IGNORED, *OTHERS[:2])
    (study,) = find_studies(pacs.node, study_instance_uid=STUDY)  # ours sorts the answers out
    assert study.StudyInstanceUID == STUDY
    assert "StudyInstanceUID" in caplog.text
    assert warned_of(pacs.node) == [("C-FIND", "the PACS")]


def test_too_many_matches_are_refused(faulty):
    pacs = faulty(faults.TOO_MANY, *OTHERS)
    with pytest.raises(DimseFailure) as error:
        find_studies(pacs.node)
    assert status_of(error) == 0xA700
    assert len(find_studies(pacs.node, study_instance_uid=STUDY)) == 1


def test_matches_are_cut_off(faulty):
    assert len(find_studies(faulty(faults.CUT_OFF, *OTHERS).node)) == 5


def test_only_studies_can_be_asked_for(faulty):
    pacs = faulty(faults.STUDY_LEVEL_ONLY)
    assert len(find_studies(pacs.node)) == 1
    with pytest.raises(DimseFailure) as error:
        find_series(pacs.node, STUDY)
    assert status_of(error) == 0xA900


# What is offered


def test_c_get_is_not_offered(faulty, tmp_path):
    pacs = faulty(faults.NO_C_GET)
    with pytest.raises(ServiceNotAccepted, match="GET"):
        get_study(pacs.node, STUDY, tmp_path, progress=False)
    assert diagnose(pacs.node)["C-GET"].outcome == "not offered"


def test_the_scp_role_is_not_accepted(faulty, tmp_path, receiver):
    pacs = faulty(faults.NO_SCP_ROLE)
    with pytest.raises(DimseFailure) as error:
        get_study(pacs.node, STUDY, tmp_path, progress=False)
    assert status_of(error) == 0xA702
    assert warned_of(pacs.node) == [("C-GET", "we, or the PACS")]
    pacs.know(receiver.node)
    assert move_study(pacs.node, STUDY, receiver, progress=False).received == 5


def test_no_transfer_syntax_is_shared(faulty):
    pacs = faulty(faults.ONLY_JPEG_LS)
    with pytest.raises(ServiceNotAccepted, match="in none of the transfer syntaxes"):
        store(pacs.node, OTHERS, progress=False)
    assert ("C-STORE", "we, or the PACS") in warned_of(pacs.node)
    assert not accepted_contexts(pacs.node, OTHERS)[0].accepted


def test_segmentations_are_not_accepted(faulty):
    pacs = faulty(faults.NO_SEG)
    assert warned_of(pacs.node) == [("C-STORE", "the PACS")]
    assert "not SEG" in diagnose(pacs.node)["C-STORE"].seen
    assert store(pacs.node, OTHERS, progress=False).sent == 7


# Retrieves


@pytest.mark.parametrize(
    ("fault", "status"), [(faults.ONE_NOT_SENT, "0x0000"), (faults.ONE_FAILS, "0xB000")]
)
@pytest.mark.parametrize("way", ["C-GET", "C-MOVE"])
def test_one_object_is_left_out_and_comes_when_it_is_asked_for(
    faulty, tmp_path, receiver, fault, status, way
):
    pacs = faulty(fault)
    pacs.know(receiver.node)

    def retrieve():
        if way == "C-GET":
            return get_study(pacs.node, STUDY, tmp_path / "got", progress=False)
        return move_study(pacs.node, STUDY, receiver, progress=False)

    with pytest.raises(IncompleteRetrieve, match=f"Only 4 of 5 .*{status}"):
        retrieve()
    assert retrieve().received == 5


def test_it_restarts_during_a_retrieve(faulty, tmp_path):
    pacs = faulty(faults.RESTART)
    with pytest.raises(IncompleteRetrieve, match="Only 2 of 5 .* ended the association"):
        get_study(pacs.node, STUDY, tmp_path, progress=False)


def test_no_destination_is_known(faulty, receiver):
    pacs = faulty(faults.NO_DESTINATION)
    pacs.know(receiver.node)
    with pytest.raises(UnknownMoveDestination) as error:
        move_study(pacs.node, STUDY, receiver, progress=False)
    assert status_of(error) == 0xA801


def test_a_destination_has_a_wrong_address(faulty, receiver):
    pacs = faulty(faults.WRONG_ADDRESS)
    pacs.know(receiver.node)
    with pytest.raises(IncompleteRetrieve, match=r"Only 0 of 5 .* \(0x0000 \(Success\)\)"):
        move_study(pacs.node, STUDY, receiver, progress=False)


# Storage


def test_it_is_out_of_resources_at_first(faulty):
    pacs = faulty(faults.FULL_AT_FIRST)
    with pytest.raises(DimseFailure, match="stored 1 of 4 objects and refused 3"):
        store(pacs.node, OTHERS[:4], progress=False)
    assert store(pacs.node, OTHERS[:4], progress=False).sent == 4


def test_it_stores_with_a_warning(faulty):
    outcome = store(faulty(faults.COERCED).node, OTHERS[:2], progress=False)
    assert outcome.sent == 2
    assert all("coerced" in warning for warning in outcome.warnings)


# Who may call


def test_a_healthy_pacs_takes_a_title_that_is_added_while_it_listens():
    with PracticePacs(allowed_ae_titles=["KNOWN"]) as pacs:
        with pytest.raises(AssociationRejected):
            echo(pacs.node)
        pacs.allow("MAGICIAN")
        assert echo(pacs.node) == 0


def test_a_pacs_that_is_open_to_all_stays_so():
    with PracticePacs() as pacs:
        pacs.allow("KNOWN")
        assert echo(pacs.node) == 0
