"""Peers that nobody here wrote, in unusual ways: Orthanc with limits, qrscp and dcmqrscp as PACS;
DCMTK's clients with unusual options, dcmjs-dimse and gdcmscu as clients of the practice PACS.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import ct_series, interop_required, require_program, write_series
from orthanc import free_port, running, running_orthanc
from pydicom import dcmread

from magician.client.diagnosis import diagnose
from magician.client.find import find_instances, find_series, find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs

SERIES = ct_series(slices=8, rows=16, columns=16)
STUDY_UID, SERIES_UID = SERIES[0].StudyInstanceUID, SERIES[0].SeriesInstanceUID
UIDS = {ds.SOPInstanceUID for ds in SERIES}
FIRST = [ds.SOPInstanceUID for ds in SERIES[:3]]
OTHERS = [ct_series(slices=1, rows=16, columns=16, seed=seed)[0] for seed in (1, 2)]
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
NPM_FOLDER = Path(__file__).resolve().parents[2] / "build" / "npm" / "node_modules"
GDCM_DIES = "ProtocolStream as nullptr is invalid"


def run(
    *command, folder=None, environment=ENVIRONMENT, succeeds=True
) -> subprocess.CompletedProcess:
    """Run a client to its end, in a folder."""
    result = subprocess.run(
        [require_program(command[0]), *map(str, command[1:])],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        cwd=folder,
        env=environment,
        check=False,
    )
    if succeeds:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The series as files."""
    return write_series(SERIES, tmp_path_factory.mktemp("foreign") / "ct")


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        yield pacs


@pytest.fixture
def filled(pacs):
    pacs.add(SERIES)
    return pacs


def require_same_pixels(files) -> None:
    """Hold the files against what was sent, whatever their encoding."""
    found = {ds.SOPInstanceUID: ds for ds in map(dcmread, files)}
    assert found.keys() == UIDS
    assert all((found[ds.SOPInstanceUID].pixel_array == ds.pixel_array).all() for ds in SERIES)


# Orthanc that stops at limits of its own


@pytest.fixture(scope="module")
def receiver_port():
    return free_port()


@pytest.fixture(scope="module")
def limited_orthanc(tmp_path_factory, receiver_port):
    known = {"MAGICIAN": receiver_port}
    limits = {"LimitFindResults": 2, "LimitFindInstances": 5}
    with running_orthanc(tmp_path_factory.mktemp("limited"), known=known, settings=limits) as node:
        store(node, [*SERIES, *OTHERS, *in_three_series()])
        yield node


def in_three_series() -> list:
    """Another study: three series of two images."""
    datasets = ct_series(slices=6, rows=16, columns=16, seed=3)
    for number, ds in enumerate(datasets):
        ds.SeriesInstanceUID = f"{ds.SeriesInstanceUID[:40]}.{number // 2}"
    return datasets


def test_orthanc_stops_a_list_of_studies_and_says_so(limited_orthanc, caplog):
    studies = find_studies(limited_orthanc)
    assert len(studies) == 2
    assert studies.cut
    assert "limit" in caplog.text


def test_orthanc_stops_a_list_of_images_and_says_so(limited_orthanc):
    images = find_instances(limited_orthanc, STUDY_UID, SERIES_UID)
    assert len(images) == 5
    assert images.cut


def test_all_images_come_from_an_orthanc_that_lists_five(limited_orthanc, tmp_path):
    assert get_study(limited_orthanc, STUDY_UID, tmp_path).received == 8
    next(tmp_path.iterdir()).unlink()
    assert get_study(limited_orthanc, STUDY_UID, tmp_path).received == 8


def test_all_series_come_from_an_orthanc_that_lists_two(limited_orthanc, tmp_path):
    study_uid = in_three_series()[0].StudyInstanceUID
    assert find_series(limited_orthanc, study_uid).cut
    assert get_study(limited_orthanc, study_uid, tmp_path).received == 6


def test_all_images_are_sent_by_an_orthanc_that_lists_five(
    limited_orthanc, receiver_port, tmp_path
):
    with Receiver(tmp_path, port=receiver_port) as receiver:
        assert move_study(limited_orthanc, STUDY_UID, receiver).received == 8
        next(tmp_path.iterdir()).unlink()
        assert move_study(limited_orthanc, STUDY_UID, receiver).received == 8


# qrscp, which answers for a study as often as it has images


@contextmanager
def running_qrscp(folder: Path, destinations: dict[str, int]):
    """Start pynetdicom's qrscp as a process of its own; importing it would change pydicom's
    settings here.
    """
    pytest.importorskip("sqlalchemy")
    port = free_port()
    lines = [
        "[DEFAULT]", "ae_title: QRSCP", f"port: {port}", "max_pdu: 16382", "acse_timeout: 30",
        "dimse_timeout: 30", "network_timeout: 30", "bind_address: 127.0.0.1",
        f"instance_location: {folder / 'instances'}",
        f"database_location: {folder / 'qrscp.sqlite'}", "log_identifier: False",
    ]  # fmt: skip
    for title, target in destinations.items():
        lines += [f"[{title}]", "address: 127.0.0.1", f"port: {target}"]
    (folder / "instances").mkdir()
    (folder / "qrscp.ini").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "-q", "-c", folder / "qrscp.ini"]
    with (folder / "qrscp.log").open("w") as log:
        with running(command, port, stdout=log, stderr=log):
            yield Node("QRSCP", "127.0.0.1", port)


@pytest.fixture(scope="module")
def qrscp(tmp_path_factory, receiver_port):
    with running_qrscp(tmp_path_factory.mktemp("qrscp"), {"MAGICIAN": receiver_port}) as node:
        store(node, [*SERIES, *OTHERS])
        yield node


def test_qrscp_is_healthy(qrscp):
    assert diagnose(qrscp).summary.endswith("all well")


def test_qrscp_lists_a_study_once(qrscp):
    assert len(find_studies(qrscp)) == 3
    assert len(find_series(qrscp, STUDY_UID)) == 1
    assert len(find_instances(qrscp, STUDY_UID, SERIES_UID)) == 8


def test_qrscp_is_asked_for_one_patient_and_no_other_is_taken(qrscp):
    (study,) = find_studies(qrscp, patient_id="SMALL-1", modality="CT")
    assert study.StudyInstanceUID == OTHERS[0].StudyInstanceUID


def test_qrscp_sends_by_get_in_little_time(qrscp, tmp_path):
    started = time.monotonic()
    assert get_study(qrscp, STUDY_UID, tmp_path).received == 8
    require_same_pixels(tmp_path.iterdir())
    assert time.monotonic() - started < 5


def test_qrscp_sends_what_is_missing(qrscp, tmp_path):
    get_study(qrscp, STUDY_UID, tmp_path)
    for path in sorted(tmp_path.iterdir())[:3]:
        path.unlink()
    assert get_study(qrscp, STUDY_UID, tmp_path).received == 8


def test_qrscp_sends_to_our_receiver(qrscp, receiver_port, tmp_path):
    with Receiver(tmp_path, port=receiver_port) as receiver:
        assert move_study(qrscp, STUDY_UID, receiver).received == 8


# dcmqrscp


@pytest.fixture(scope="module")
def dcmqrscp(tmp_path_factory, receiver_port):
    folder, port = tmp_path_factory.mktemp("dcmqrscp"), free_port()
    (folder / "db").mkdir()
    # it listens on all interfaces, and talks to this one caller
    (folder / "dcmqrscp.cfg").write_text(
        "MaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\n"
        f"us = (MAGICIAN, localhost, {receiver_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQR {folder / 'db'} RW (200, 1024mb) us\nAETable END\n"
    )
    command = [require_program("dcmqrscp"), "-c", folder / "dcmqrscp.cfg", port]
    with running(command, port, env=ENVIRONMENT):
        node = Node("DCMQR", "127.0.0.1", port)
        store(node, [*SERIES, *OTHERS])
        yield node


def test_dcmqrscp_that_talks_to_us_alone_is_healthy(dcmqrscp):
    assert diagnose(dcmqrscp).summary.endswith("all well")


def test_dcmqrscp_answers_and_sends_by_get(dcmqrscp, tmp_path):
    assert len(find_studies(dcmqrscp)) == 3
    (study,) = find_studies(dcmqrscp, patient_name="Phantom*", patient_id="SMALL-0")
    assert study.StudyInstanceUID == STUDY_UID
    assert get_study(dcmqrscp, STUDY_UID, tmp_path).received == 8
    next(tmp_path.iterdir()).unlink()
    assert get_study(dcmqrscp, STUDY_UID, tmp_path).received == 8


def test_dcmqrscp_sends_to_our_receiver(dcmqrscp, receiver_port, tmp_path):
    with Receiver(tmp_path, port=receiver_port) as receiver:
        assert move_study(dcmqrscp, STUDY_UID, receiver).received == 8


# DCMTK's clients with unusual options


SENDING = {
    "implicit VR only": ["-xi"],
    "big endian first": ["-xb"],
    "little endian first": ["-xe"],
    "JPEG lossless as well": ["-xs"],
    "JPEG 2000 lossless as well": ["-xv"],
    "deflated as well": ["-xd"],
    "only what it needs": ["-R"],
    "all syntaxes in one context": ["-xs", "+C"],
    "small PDUs": ["-pdu", "4096", "--max-send-pdu", "4096"],
    "large PDUs": ["-pdu", "131072", "--max-send-pdu", "131072"],
    "a user with a password": ["-usr", "somebody", "-pwd", "secret"],
    "twice": ["--repeat", "2"],
    "a title in small letters with a blank": ["-aet", "my viewer"],
    "a title with outer blanks": ["-aet", "  VIEWER "],
    "short time-outs": ["-to", "5", "-ta", "5", "-td", "5"],
    "it aborts at the end": ["--abort"],
}  # fmt: skip


@pytest.mark.parametrize("options", SENDING.values(), ids=SENDING)
def test_storescu_sends_to_the_practice_pacs(options, pacs, folder):
    run(
        "storescu", "-aec", pacs.node.ae_title, *options, "127.0.0.1", pacs.node.port, "+sd", folder
    )
    require_same_pixels(pacs.folder.iterdir())


@pytest.mark.parametrize("options", [["-xi"], ["-xb"], ["-xs", "+C"], ["-pdu", "4096"]], ids=str)
def test_storescu_sends_to_a_receiver(options, folder, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        run("storescu", "-aec", "INBOX", *options, "127.0.0.1", receiver.node.port, "+sd", folder)
        require_same_pixels(receiver.received)


def test_storescu_calls_by_a_title_with_outer_blanks(pacs, folder):
    title = f" {pacs.node.ae_title} "
    run("storescu", "-aec", title, "127.0.0.1", pacs.node.port, "+sd", folder)
    require_same_pixels(pacs.folder.iterdir())


def test_storescu_invents_patients_and_studies(pacs, folder):
    options = ["+IP", "4", "+IS", "2", "+IR", "1"]
    run(
        "storescu", "-aec", pacs.node.ae_title, *options, "127.0.0.1", pacs.node.port, "+sd", folder
    )
    assert sum(s.NumberOfStudyRelatedInstances for s in find_studies(pacs.node)) == 8


GETTING = {
    "implicit VR only": ["-S", "-xi"],
    "big endian first": ["-S", "-xb"],
    "deflated first": ["-S", "-xd"],
    "it prefers big endian": ["-S", "+xb"],
    "it prefers JPEG lossless": ["-S", "+xs"],
    "it prefers JPEG 2000": ["-S", "+xv"],
    "it accepts implicit VR only": ["-S", "+xi"],
    "bits as they are": ["-S", "+B"],
    "small PDUs": ["-S", "-pdu", "4096"],
    "large PDUs": ["-S", "-pdu", "131072"],
    "a title with outer blanks": ["-S", "-aet", "  GETTER "],
}  # fmt: skip


def keys(level: str, **more: str) -> list[str]:
    values = {"QueryRetrieveLevel": level, "StudyInstanceUID": STUDY_UID, **more}
    return [x for key, value in values.items() for x in ("-k", f"{key}={value}")]


@pytest.mark.parametrize("options", GETTING.values(), ids=GETTING)
def test_getscu_gets_a_study(options, filled, tmp_path):
    asked = ["-aec", filled.node.ae_title, *keys("STUDY"), filled.node.host, filled.node.port]
    run("getscu", *options, *asked, folder=tmp_path)  # with +B it does not heed -od
    require_same_pixels(tmp_path.iterdir())


LEVELS = {
    "a series": (keys("SERIES", SeriesInstanceUID=SERIES_UID), 8),
    "one image": (keys("IMAGE", SeriesInstanceUID=SERIES_UID, SOPInstanceUID=FIRST[0]), 1),
    "three images": (
        keys("IMAGE", SeriesInstanceUID=SERIES_UID, SOPInstanceUID="\\".join(FIRST)),
        3,
    ),
    "a study that is not there": (keys("STUDY", StudyInstanceUID="1.2.3"), 0),
}


@pytest.mark.parametrize(("asked", "count"), LEVELS.values(), ids=LEVELS)
def test_getscu_gets_at_each_level(asked, count, filled, tmp_path):
    node = filled.node
    run("getscu", "-S", "-aec", node.ae_title, "-od", tmp_path, *asked, node.host, node.port)
    assert len(list(tmp_path.iterdir())) == count


MOVING = {
    "it takes implicit VR only": ["+xi"],
    "it prefers JPEG lossless": ["+xs"],
    "it asks in big endian": ["-xb"],
    "small PDUs": ["-pdu", "4096"],
    "bits as they are": ["+B"],
    "Pending responses with a data set": ["-pr"],
}  # fmt: skip


@pytest.mark.parametrize("options", MOVING.values(), ids=MOVING)
def test_movescu_has_a_study_sent_to_itself(options, filled, tmp_path):
    node, port = filled.node, free_port()
    filled.know(Node("MOVER", "127.0.0.1", port))
    titles = ["-aet", "MOVER", "-aem", "MOVER", "-aec", node.ae_title]
    asked = ["-S", "+P", port, *titles, *options, *keys("STUDY"), node.host, node.port]
    run("movescu", *asked, folder=tmp_path)  # with +B it does not heed -od
    require_same_pixels(tmp_path.iterdir())


@pytest.mark.parametrize(("asked", "count"), LEVELS.values(), ids=LEVELS)
def test_movescu_has_each_level_sent_to_a_receiver(asked, count, filled, tmp_path):
    node = filled.node
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        filled.know(receiver.node)
        where = [node.host, node.port]
        run("movescu", "-S", "-aem", "INBOX ", "-aec", node.ae_title, *asked, *where)
        assert len(receiver.received) == count


def test_movescu_changes_its_mind(filled, tmp_path):
    node = filled.node
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        filled.know(receiver.node)
        options = ["-S", "-aem", "INBOX", "--cancel", "1", "-aec", node.ae_title]
        run("movescu", *options, *keys("STUDY"), node.host, node.port, succeeds=False)
    assert find_studies(node)


def test_dcmsend_does_not_look_at_uids(pacs, folder):
    """It sends a private class that storescu would not."""
    private = dcmread(min(folder.iterdir()))
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.3.12.2.1107.5.9.1"
    path = folder.parent / "private.dcm"
    private.save_as(path, enforce_file_format=True)
    run("dcmsend", "-nuc", "-aec", pacs.node.ae_title, "127.0.0.1", pacs.node.port, path)
    assert dcmread(*pacs.folder.iterdir()).SOPClassUID == "1.3.12.2.1107.5.9.1"


# dcmjs-dimse, from npm


@pytest.fixture
def dcmjs():
    """It returns what dcmjs-dimse prints of one call."""
    if not (NPM_FOLDER / "dcmjs-dimse").is_dir():
        reason = "dcmjs-dimse is not installed in build/npm"
        if interop_required():
            pytest.fail(f"{reason}, and MAGICIAN_REQUIRE_INTEROP=1")
        pytest.skip(reason)

    def call(node: Node, verb: str, **asked) -> dict:
        address = {"host": node.host, "port": node.port, "calling": "DCMJS"}
        asked = {"verb": verb, "called": node.ae_title, **address, **asked}
        script = Path(__file__).parent / "dcmjs_client.js"
        environment = {**os.environ, "NODE_PATH": str(NPM_FOLDER)}
        printed = run("node", script, json.dumps(asked), environment=environment).stdout
        return json.loads(printed.splitlines()[-1])

    return call


def test_dcmjs_echoes(dcmjs, pacs):
    assert dcmjs(pacs.node, "echo")["statuses"] == [0]


def test_dcmjs_stores(dcmjs, pacs, folder):
    assert (
        dcmjs(pacs.node, "store", files=sorted(map(str, folder.iterdir())))["statuses"] == [0] * 8
    )
    require_same_pixels(pacs.folder.iterdir())


def test_dcmjs_finds(dcmjs, filled):
    asked = {"PatientName": "phantom*", "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}
    outcome = dcmjs(filled.node, "find", keys=asked)
    assert [answer["StudyInstanceUID"] for answer in outcome["answers"]] == [STUDY_UID]
    assert outcome["answers"][0]["NumberOfStudyRelatedInstances"] == 8


def test_dcmjs_gets(dcmjs, filled):
    assert set(dcmjs(filled.node, "get", study=STUDY_UID)["received"]) == UIDS


def test_dcmjs_moves_to_a_receiver(dcmjs, filled, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        filled.know(receiver.node)
        outcome = dcmjs(filled.node, "move", study=STUDY_UID, destination="INBOX")
        assert outcome["statuses"] == [0]
        require_same_pixels(receiver.received)


# gdcmscu, of Debian's libgdcm-tools


def gdcmscu(node: Node, *arguments) -> None:
    """Run gdcmscu; Debian's dies with every peer when the association has been released."""
    address = ["--aetitle", "GDCM", "--call", node.ae_title, node.host, node.port]
    result = run("gdcmscu", *arguments, *address, succeeds=False)
    assert result.returncode == 0 or GDCM_DIES in result.stderr, result.stdout + result.stderr


def logged(caplog, words: str) -> bool:
    """Whether the log says this, perhaps a moment after the client has ended."""
    deadline = time.monotonic() + 5
    while words not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    return words in caplog.text


def test_gdcmscu_echoes(pacs, caplog):
    caplog.set_level(logging.INFO, "magician")
    gdcmscu(pacs.node, "--echo")
    assert logged(caplog, "1 C-ECHO; released")


def test_gdcmscu_stores(pacs, folder):
    gdcmscu(pacs.node, "--store", "-r", "-i", folder)
    require_same_pixels(pacs.folder.iterdir())


def test_gdcmscu_finds(filled, caplog):
    caplog.set_level(logging.INFO, "magician")
    gdcmscu(
        filled.node, "--find", "--studyroot", "--study", "--key", "10,10=Phan*", "--key", "20,d"
    )
    assert logged(caplog, "1 C-FIND; released")


def test_gdcmscu_moves(filled, tmp_path):
    port = free_port()
    filled.know(Node("GDCM", "127.0.0.1", port))
    key = f"20,d={STUDY_UID}"
    where = ["--port-scp", port, "-o", tmp_path]
    gdcmscu(filled.node, "--move", "--studyroot", "--study", "--key", key, *where)
    require_same_pixels(tmp_path.iterdir())
