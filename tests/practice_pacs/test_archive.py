"""The archive alone: what it keeps and refuses, without any protocol."""

import re
import subprocess
import sys
from io import BytesIO

import pytest
from helpers import ct_series
from pydicom import Dataset, dcmread, dcmwrite

from magician import privacy
from magician.errors import MagicianError
from magician.files import QuotaExceeded
from magician.practice_pacs.archive import Archive, ObjectIdentified, ObjectMisplaced
from magician.upper_layer.limits import Limits


@pytest.fixture
def images():
    return ct_series(slices=3, rows=16, columns=16)


@pytest.fixture
def archive(tmp_path):
    archive = Archive(tmp_path, host="127.0.0.1")
    yield archive
    archive.close()


def encoded(dataset):
    """The bytes of a data set as a DICOM file."""
    content = BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


def held(archive, level="IMAGE"):
    return len(archive.held(level))


def test_it_needs_no_protocol(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['pynetdicom'] = None\n"  # an import of it now fails
        "from magician.practice_pacs.archive import Archive\n"
        f"archive = Archive({str(tmp_path)!r}, host='127.0.0.1')\n"
        "print(archive.held('STUDY'))\n"
        "archive.close()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_it_keeps_the_bytes_that_it_gets(archive, images):
    content = encoded(images[0])
    archive.keep(images[0], content)
    (instance,) = archive.held("IMAGE", SOPInstanceUID=images[0].SOPInstanceUID)
    assert archive.folder.joinpath(instance["path"]).read_bytes() == content


def test_the_first_object_under_a_uid_stays(archive, images):
    archive.keep(images[0], encoded(images[0]))
    archive.keep(images[0], b"something else")
    (path,) = archive.folder.iterdir()
    assert dcmread(path) == images[0]


def test_an_object_without_its_study_is_misplaced(archive, images):
    del images[0].StudyInstanceUID
    with pytest.raises(ObjectMisplaced, match="It has no Study Instance UID"):
        archive.keep(images[0], b"")
    assert held(archive) == 0


ODD_UIDS = ["1.2." + "3" * 68, "1.02.3", "1..2", "1.2.x-y_Z", "1." * 63 + "12"]


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ODD_UIDS)
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_study_or_series_whose_uid_is_none_is_kept_and_told_of_once(
    archive, images, uid, keyword, caplog
):
    for image in images:
        setattr(image, keyword, uid)
        archive.keep(image, encoded(image))
    assert archive.held("IMAGE", **{keyword: uid})[0][keyword] == uid
    assert held(archive) == 3
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("magician")]
    is_uid = uid in ("1.02.3",)  # digits and dots; only the zero before the 2 is odd
    assert len(lines) == (0 if is_uid else 1)
    assert is_uid or lines[0].endswith(f"no UID (PS3.5 9.1): {uid}")


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("1.2 3", "is no UID (PS3.5 9.1): '1.2 3'"),
        ("1.2*", "is no UID (PS3.5 9.1): '1.2*'"),
        ("../1", "is no UID (PS3.5 9.1): '../1'"),
        ("1" * 129, "has 129 characters, not 64 (PS3.5 9.1)"),
        (["1.2", "1.3"], r"is no UID (PS3.5 9.1): '1.2\\1.3'"),
    ],
)
def test_a_uid_that_can_not_stand_in_a_query_is_refused_in_words(archive, images, uid, reason):
    images[0].StudyInstanceUID = uid
    with pytest.raises(ObjectMisplaced, match=re.escape(f"Its Study Instance UID {reason}")):
        archive.keep(images[0], b"")
    with pytest.raises(MagicianError, match="Its Study Instance UID .*; none was added"):
        archive.add(images)
    assert held(archive) == 0


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR UI")
def test_the_uid_of_an_instance_must_be_one_because_it_becomes_a_file_name(archive, images):
    images[0].SOPInstanceUID = "1.2.x"
    with pytest.raises(ObjectMisplaced, match="Its SOP Instance UID is not a UID"):
        archive.keep(images[0], b"")


def test_a_uid_of_another_study_is_misplaced(archive, images):
    archive.add(images)
    images[0].StudyInstanceUID = "1.2.3"
    with pytest.raises(ObjectMisplaced, match="already in another study"):
        archive.keep(images[0], b"")
    assert held(archive, "STUDY") == 1


def test_for_other_computers_it_keeps_no_identified_object(images, tmp_path, monkeypatch):
    monkeypatch.setattr(privacy, "is_loopback", lambda host: False)
    archive = Archive(tmp_path, host="192.0.2.1")
    del images[0].PatientIdentityRemoved
    with pytest.raises(ObjectIdentified):
        archive.keep(images[0], encoded(images[0]))
    assert list(tmp_path.iterdir()) == []
    archive.close()


def test_more_than_its_quota_is_refused(images, tmp_path):
    archive = Archive(tmp_path, host="127.0.0.1", limits=Limits(instances=2))
    for image in images[:2]:
        archive.keep(image, encoded(image))
    with pytest.raises(QuotaExceeded, match="holds 2 instances"):
        archive.keep(images[2], encoded(images[2]))
    assert held(archive) == 2
    archive.close()


def test_a_retrieve_names_its_study_and_the_key_of_its_level(archive, images):
    archive.add(images)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = images[0].StudyInstanceUID
    assert archive.paths(identifier) is None
    identifier.SeriesInstanceUID = images[0].SeriesInstanceUID
    assert [path.stem for path in archive.paths(identifier)] == [
        image.SOPInstanceUID for image in images
    ]


def test_what_lies_in_its_folder_is_held_again(images, tmp_path):
    archive = Archive(tmp_path, host="127.0.0.1")
    archive.add(images)
    archive.close()
    again = Archive(tmp_path, host="127.0.0.1")
    assert held(again) == 3
    again.close()


def test_its_temporary_folder_goes_when_it_closes(images):
    archive = Archive(host="127.0.0.1")
    archive.add(images)
    archive.close()
    assert not archive.folder.exists()
