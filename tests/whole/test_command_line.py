"""``python -m magician pacs`` as a teacher runs it: what it prints can be typed, and it stops when
it is told to.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers import require_program
from odd_callers import CLASS_UID, USER, context, request, throw_at
from odd_pacs import item, pdu
from orthanc import free_port
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from magician import __main__ as command_line
from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import get_study
from magician.client.store import store
from magician.errors import AssociationRejected, MagicianError
from magician.node import Node
from magician.practice_pacs.association_log import WithoutPynetdicom
from magician.practice_pacs.pacs import PracticePacs
from magician.teaching.classroom import (
    LearnersStudy,
    learners_studies,
    list_instructions,
    read_names,
)
from magician.tls import client_tls

LEARNER = "Änne Xanthippe"


class Served:
    """A class PACS in a process of its own; by default its Ctrl-C is pressed at the end of the
    block.
    """

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "magician", "pacs", "--port", "0", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        self.process = subprocess.Popen(
            command, **pipes, env={**os.environ, "PYTHONIOENCODING": "utf-8"}
        )
        silent = threading.Timer(300, self.process.kill)
        silent.start()
        self.printed = ""
        while "Ready" not in self.printed:
            line = self.process.stdout.readline()
            assert line, f"ended after {self.printed!r} with {self.process.stderr.read()!r}"
            self.printed += line
        silent.cancel()

    @property
    def node(self):
        return Node.parse(re.search(r'PACS = "(.*)"', self.printed)[1])

    def stop(self, how=signal.SIGINT):
        """Stop it; returns the exit status and its last output. `log` then holds its stderr."""
        self.process.send_signal(how)
        try:
            last, self.log = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, last

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("class")


@pytest.fixture(scope="module")
def served(folder):
    """A PACS that computes the study of one learner, and keeps it in its folder."""
    with Served("--folder", folder, "--study", LEARNER, "--ae-title", "RADIOLOGY") as served:
        yield served


def printed_study(served):
    """The accession number and the patient's name that the table has for the learner."""
    row = rf'{LEARNER} +NAME = "{LEARNER}" +"accession_number": "(\d{{8}})", +(\S.*)'
    return re.search(row, served.printed).groups()


def test_what_it_prints_can_be_typed(served):
    assert served.node.ae_title == "RADIOLOGY"
    assert served.node.host == "127.0.0.1"
    assert echo(served.node) == 0x0000


def test_the_study_of_a_learner_is_found_and_fetched(served, tmp_path):
    accession_number, patient_name = printed_study(served)
    (study,) = find_studies(served.node, accession_number=accession_number)
    assert study.PatientName == patient_name
    assert get_study(served.node, study.StudyInstanceUID, tmp_path).received == 95
    assert {
        dcmread(path, stop_before_pixels=True).AccessionNumber for path in tmp_path.iterdir()
    } == {accession_number}


def test_the_name_of_the_learner_is_written_nowhere(served, folder):
    files = list(folder.iterdir())
    assert len(files) == 95
    for path in files:
        everything = path.name.encode() + path.read_bytes()
        assert not any(part.encode() in everything for part in LEARNER.split())


def test_dcmtk_echoes_and_finds(served):
    who = ["-aec", served.node.ae_title, served.node.host, str(served.node.port)]
    accession_number, patient_name = printed_study(served)
    subprocess.run([require_program("echoscu"), *who], check=True, timeout=60)
    keys = ["QueryRetrieveLevel=STUDY", f"AccessionNumber={accession_number}", "PatientName"]
    command = [
        require_program("findscu"),
        "-S",
        *who,
        *(part for key in keys for part in ("-k", key)),
    ]
    found = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert patient_name in found.stdout + found.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_told_and_serves_the_same_again(served, folder, how):
    with Served("--folder", folder, "--study", LEARNER) as again:
        assert "Computing" not in again.printed
        assert printed_study(again) == printed_study(served)
        assert len(find_studies(again.node)) == 1
        status, last = again.stop(how)
    assert status == 0
    assert f"Files lie in {folder}" in last
    assert again.log == ""


def test_what_learners_sent_is_there_after_a_restart(small_series, tmp_path):
    with Served("--folder", tmp_path) as first:
        store(first.node, small_series)
    with Served("--folder", tmp_path) as second:
        assert (
            find_studies(second.node, accession_number="A-1")[0].NumberOfStudyRelatedInstances == 12
        )


def test_it_stops_although_a_learner_is_still_connected():
    ae = AE("IDLE")
    ae.add_requested_context(Verification)
    with Served() as served:
        association = ae.associate(
            served.node.host, served.node.port, ae_title=served.node.ae_title
        )
        assert association.is_established
        status, last = served.stop()
        association.join(timeout=10)
    assert status == 0
    assert "Its files are gone with it" in last


def test_each_association_is_a_line_when_asked(small_series):
    with Served("-v") as served:
        echo(served.node)
        store(served.node, small_series)
        served.stop()
    assert [line.split(" ", 1)[1] for line in served.log.splitlines()] == [
        "'MAGICIAN' at 127.0.0.1: 1 C-ECHO; released",
        "'MAGICIAN' at 127.0.0.1: 12 C-STORE; released",
    ]


def test_only_allowed_titles_may_call_and_the_notebook_line_says_which():
    with Served("--allow", "ADA", "--allow", "BEN") as served:
        title = re.search(r'pacs = Node.parse\(PACS, local_ae_title="(.*)"\)', served.printed)[1]
        assert title == "ADA"
        assert echo(Node.parse(str(served.node), local_ae_title=title)) == 0x0000
        with pytest.raises(AssociationRejected):
            echo(served.node)


def test_learners_hear_that_c_move_is_not_for_this_pacs():
    assert any(
        "C-GET only" in line for line in list_instructions(Node("CLASS", "127.0.0.1", 11112), [])
    )


def test_notebooks_that_are_allowed_as_they_are_need_no_other_line():
    lines = list_instructions(Node("CLASS", "127.0.0.1", 11112), ["BEN", "MAGICIAN"])
    assert not any("local_ae_title" in line for line in lines)


@pytest.fixture
def certificate(tmp_path):
    """A certificate that names this computer and has signed itself, and its key."""
    certificate, key = tmp_path / "class.pem", tmp_path / "class.key"
    command = (
        f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=class "
        f"-keyout {key} -out {certificate}"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [require_program("openssl"), *command.split(), *names],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


def tls_keywords(printed, **files):
    """What the printed line for Cell 3 says in tls=client_tls(...), with these files in place of
    those named there.
    """
    named = dict(re.findall(r'(\w+)="([^"]*\.(?:pem|key))"', printed))
    assert named.keys() == files.keys()
    return {"tls": client_tls(**files)}


def test_encrypted_the_notebook_line_says_how(certificate):
    with Served("--tls-cert", certificate[0], "--tls-key", certificate[1]) as served:
        keywords = tls_keywords(served.printed, ca=certificate[0])
        assert echo(Node.parse(str(served.node), **keywords)) == 0x0000
        with pytest.raises(MagicianError):
            echo(served.node)


def test_encrypted_and_callers_need_a_certificate(certificate):
    own, key = certificate
    with Served("--tls-cert", own, "--tls-key", key, "--tls-ca", own) as served:
        keywords = tls_keywords(served.printed, ca=own, certificate=own, key=key)
        assert echo(Node.parse(str(served.node), **keywords)) == 0x0000
        with pytest.raises(MagicianError):
            echo(Node.parse(str(served.node), tls=client_tls(ca=own)))


def test_a_class_looks_into_it_with_a_browser(small_series):
    with Served("--web", "0") as served:
        url = re.search(
            r"To look into it with a browser: (http://127\.0\.0\.1:\d+/)\n", served.printed
        )[1]
        store(served.node, small_series)
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert "Phantom^Small" in answer.read().decode()
        status, _ = served.stop()
        assert status == 0
        assert served.log == ""
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=20)


# What has to be changed


def refused(*arguments):
    """Run a command that must end at once; returns the one line that it says."""
    command = [sys.executable, "-m", "magician", "pacs", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_the_port_is_in_use():
    with PracticePacs() as other:
        line = refused("--port", other.node.port)
    assert re.search(
        r"can't listen on 127.0.0.1:\d+ \(Address already in use\)\. Stop what uses this port", line
    )


def test_the_port_of_the_web_page_is_in_use():
    with PracticePacs() as other:
        line = refused("--port", "0", "--web", other.node.port)
    assert re.search(
        r"The web page can't listen on 127.0.0.1:\d+ \(.*\)\. Stop what uses this port", line
    )


def test_a_web_page_for_other_computers_is_not_encrypted(certificate):
    options = [
        "--host",
        "0.0.0.0",
        "--beyond-loopback",
        "--allow",
        "ADA",
        "--web",
        "--tls-cert",
        certificate[0],
    ]
    assert "--web is not encrypted, and --tls-cert asks for encryption" in refused(*options)


def test_the_host_is_not_of_this_computer():
    line = refused(
        "--host", "192.0.2.1", "--beyond-loopback", "--allow", "ADA", "--port", free_port()
    )
    assert "The host must be an address of this computer" in line


def test_the_folder_is_a_file(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("")
    assert f"{file} can't be written to" in refused("--folder", file)


def test_the_folder_belongs_to_somebody_else(tmp_path, monkeypatch):
    def nobody_writes_here(**where):
        raise PermissionError(13, "Permission denied")

    # root may write anywhere
    monkeypatch.setattr(command_line.tempfile, "TemporaryFile", nobody_writes_here)
    options = command_line.make_parser().parse_args(["pacs", "--folder", str(tmp_path)])
    with pytest.raises(
        MagicianError, match=r"can't be written to \(Permission denied\): choose another --folder"
    ):
        command_line.serve(options)


@pytest.mark.parametrize("option", ["--ae-title", "--allow"])
def test_a_title_that_dicom_does_not_allow(option):
    assert f"{option}: 'SEVENTEEN_LETTERS' is not an AE title" in refused(
        option, "SEVENTEEN_LETTERS"
    )


def test_the_file_of_names_is_not_there(tmp_path):
    assert f"{tmp_path / 'class.txt'} can't be read" in refused(
        "--studies-from", tmp_path / "class.txt"
    )


@pytest.mark.parametrize("port", ["eleven", "65536", "-1"])
def test_a_port_that_is_none(port, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(["pacs", f"--port={port}"])
    assert end.value.code == 2
    assert f"'{port}' is not a TCP port" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--beyond-loopback"], ["--allow", "ADA"]])
def test_it_is_not_reached_from_other_computers_by_accident(more):
    line = refused("--host", "0.0.0.0", *more)
    assert "say --beyond-loopback, and --allow AETITLE for each title that may call" in line
    assert "Nothing is encrypted" in line
    assert "PatientIdentityRemoved=YES" in line


def test_beyond_loopback_without_an_address():
    assert "--beyond-loopback needs --host" in refused("--beyond-loopback", "--allow", "ADA")


def test_a_certificate_that_is_none(tmp_path):
    file = tmp_path / "class.pem"
    file.write_text("no certificate")
    assert str(file) in refused("--tls-cert", file)


def test_a_key_without_its_certificate(tmp_path):
    assert "need --tls-cert" in refused("--tls-key", tmp_path / "class.key")


def test_beyond_loopback_it_says_what_that_means(monkeypatch, capsys):
    # rather than to listen to the world
    monkeypatch.setattr(command_line, "is_loopback", lambda host: False)
    monkeypatch.setattr("magician.web.access.is_loopback", lambda host: False)
    monkeypatch.setattr(command_line, "wait_for_interrupt", lambda: None)
    options = [
        "pacs",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--beyond-loopback",
        "--allow",
        "ADA",
        "--web",
        "0",
    ]
    command_line.serve(command_line.make_parser().parse_args(options))
    printed = capsys.readouterr().out
    assert "Every computer that can reach this one can call this PACS" in printed
    assert "can look at all that it holds there, unencrypted, if it knows the word" in printed
    words = re.findall(r"http://127\.0\.0\.1:\d+/\?word=([a-z2-9]{12})\b", printed)
    assert len(words) == 2  # in the line for Cell 13d, and in the address to look into it
    assert len(set(words)) == 1
    assert "Nothing is encrypted" in printed


# Who gets which study


def test_names_come_from_a_file_as_editors_write_it(tmp_path):
    file = tmp_path / "class.txt"
    file.write_bytes("\ufeffAda\r\n\r\n  Änne Ü \r\nBen".encode())
    assert read_names(file) == ["Ada", "Änne Ü", "Ben"]


def test_a_file_that_is_not_text(tmp_path):
    file = tmp_path / "class.xls"
    file.write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(MagicianError, match="must be a text file in UTF-8"):
        read_names(file)


def test_a_name_that_is_given_twice_is_one_learner():
    assert learners_studies(["Ada", "Ben", "Ada"]) == [LearnersStudy("Ada"), LearnersStudy("Ben")]


def test_thirty_names_have_thirty_accession_numbers():
    numbers = {
        study.accession_number
        for study in learners_studies(f"Learner {number}" for number in range(30))
    }
    assert len(numbers) == 30
    assert all(re.fullmatch(r"\d{8}", number) for number in numbers)


def test_two_names_with_one_accession_number_are_told_apart(monkeypatch):
    monkeypatch.setattr(LearnersStudy, "accession_number", "12345678")
    with pytest.raises(MagicianError, match="'Ada' and 'Ben' would have the same accession number"):
        learners_studies(["Ada", "Ben"])


def test_a_study_of_which_one_object_is_missing_is_not_held(served, folder, tmp_path):
    study = LearnersStudy(LEARNER)
    assert study.is_held(folder)
    for path in sorted(folder.iterdir())[1:]:
        Path(tmp_path, path.name).symlink_to(path)
    assert not study.is_held(tmp_path)


WRONG = {  # what a caller sends, and what our log says of it
    "HTTP": ([b"GET / HTTP/1.1\r\n\r\n"], r"somebody at 127.0.0.1.*not DICOM.*b'GET / '"),
    "TLS": ([b"\x16\3\1\2\0\1\0\1\xfc"], "a TLS handshake"),
    "a huge PDU": ([b"\1\0\xff\xff\xff\xff"], "a PDU of 4294967295 bytes"),
    "half a PDU": ([b"\1\0\0\0\1\0half"], "only 10 bytes"),
    "no context": ([request(b"CLASS", contexts=b"")], "'ME' at 127.0.0.1.*no presentation context"),
    "an even ID": ([request(b"CLASS", b"EVEN", contexts=context(2))], "'EVEN' at .*even ID 2"),
    "a blank title": ([request(b"CLASS", b"")], "somebody at 127.0.0.1 deviates.*calling AE"),
    "a long name": ([request(b"CLASS", user=USER + item(0x55, b"A" * 17))], "'ME' at .*AAAA"),
    "no maximum": ([request(b"CLASS", user=CLASS_UID)], "'ME' at 127.0.0.1.*no maximum length"),
    "no version": ([request(b"CLASS", b"OLD", version=2)], "'OLD' at .*protocol version is 0x0002"),
    "a cut fragment": ([request(b"CLASS"), pdu(4, b"\xff" * 4)], "broken message .P-DATA-TF."),
    "a command of zeros": (
        [request(b"CLASS"), pdu(4, b"\0\0\0\x0a\1\3" + bytes(8))],
        "a message whose command set can't be decoded",
    ),
    "an abort of any kind": ([request(b"CLASS"), pdu(7, b"\0\0\x63\x63")], ""),
}


def test_what_callers_send_wrong_is_a_line_that_names_them_and_never_a_traceback():
    with Served() as served:
        for messages, _ in WRONG.values():
            throw_at(served.node, *messages)
        assert echo(served.node) == 0x0000
        served.stop()
    lines = served.log.splitlines()
    for name, (_, words) in WRONG.items():
        assert any(re.search(words, line) for line in lines), (name, served.log)
    assert [line for line in lines if not re.match(r"\d\d:\d\d:\d\d CLASS", line)] == []


def test_a_fault_of_our_own_stays_on_the_console_in_one_line():
    try:
        Node.parse("nonsense")
    except ValueError:
        record = logging.LogRecord("pynetdicom.events", 40, "", 0, "text", (), sys.exc_info())
    assert WithoutPynetdicom().filter(record)
    assert logging.Formatter().format(record).startswith("A fault of this program: ValueError: ")
    assert "Traceback" not in logging.Formatter().format(record)
    of_theirs = logging.LogRecord("pynetdicom.dul", 40, "", 0, "text", (), None)
    assert not WithoutPynetdicom().filter(of_theirs)
