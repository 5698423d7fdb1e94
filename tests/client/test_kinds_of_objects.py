"""Compressed studies, and studies that hold more than CT: each object arrives as it is stored, and
can be read.
"""

import copy
import io
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import ct_series, lung_segmentation, require_program, truth_labels, write_series
from orthanc import free_port, running, running_orthanc
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from pynetdicom import AllStoragePresentationContexts

from magician.client import retrieve_request
from magician.client.find import find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.ct.volume import read_series
from magician.dimse.receiver import Receiver
from magician.errors import DimseFailure, IncompleteRetrieve
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import make_results

CT = ct_series(slices=6)
STUDY_UID = CT[0].StudyInstanceUID
SYNTAXES = [JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless, RLELossless]
DCMTK = {
    JPEGLosslessSV1: ["dcmcjpeg", "+e1"],
    JPEGLossless: ["dcmcjpeg", "+el"],
    JPEGLSLossless: ["dcmcjpls"],
    RLELossless: ["dcmcrle"],
}


def jpeg_2000(ds):
    """Compress with Pillow's OpenJPEG: DCMTK has no JPEG 2000."""
    stream = io.BytesIO()
    Image.fromarray(ds.pixel_array).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    ds.PixelData = encapsulate([stream.getvalue()])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return ds


def compressed_files(folder, syntax):
    """The small CT in a transfer syntax, as programs that nobody here wrote make it."""
    folder.mkdir()
    for path in sorted(write_series(CT, folder / "plain").iterdir()):
        made = folder / path.name
        if syntax == JPEG2000Lossless:
            jpeg_2000(dcmread(path)).save_as(made)
        else:
            program, *options = DCMTK[syntax]
            subprocess.run([require_program(program), *options, path, made], check=True, timeout=60)
        assert dcmread(made).file_meta.TransferSyntaxUID == syntax
    return sorted(folder.glob("*.dcm"))


def syntaxes_of(paths):
    return {dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in paths}


@contextmanager
def a_server(name, folder, known):
    """A PACS, and what it calls the destinations of a C-MOVE."""
    if name == "Orthanc":
        (folder / "orthanc").mkdir()
        with running_orthanc(folder / "orthanc", known=known) as node:
            yield node
    else:
        with PracticePacs() as pacs:
            for title, port in known.items():
                pacs.know(Node(title, "127.0.0.1", port))
            yield pacs.node


@pytest.fixture(scope="module")
def plain_hu(tmp_path_factory):
    return read_series(write_series(CT, tmp_path_factory.mktemp("plain"))).hu


@pytest.mark.parametrize("server", ["practice PACS", "Orthanc"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_a_compressed_study_comes_back_as_it_was_sent(server, syntax, tmp_path, plain_hu):
    files, inbox = compressed_files(tmp_path / "made", syntax), free_port()
    with a_server(server, tmp_path, {"MAGICIAN": free_port(), "INBOX": inbox}) as node:
        assert store(node, files).sent == 6
        got = get_study(node, STUDY_UID, tmp_path / "got")
        with Receiver(tmp_path / "moved", ae_title="INBOX", port=inbox) as receiver:
            moved = move_study(node, STUDY_UID, receiver)
    for retrieval, folder in ((got, tmp_path / "got"), (moved, tmp_path / "moved")):
        assert syntaxes_of(retrieval.paths) == {syntax}
        np.testing.assert_array_equal(read_series(folder).hu, plain_hu)


def test_a_study_in_several_encodings_comes_back_as_it_was_sent(tmp_path, plain_hu):
    files = [compressed_files(tmp_path / uid.keyword, uid)[i] for i, uid in enumerate(SYNTAXES)]
    left = {ds.SOPInstanceUID for ds in CT} - {dcmread(path).SOPInstanceUID for path in files}
    files += [ds for ds in CT if ds.SOPInstanceUID in left]
    with a_server("Orthanc", tmp_path, {"MAGICIAN": free_port()}) as node:
        assert store(node, files).sent == 6
        retrieval = get_study(node, STUDY_UID, tmp_path / "got")
    assert syntaxes_of(retrieval.paths) == {*SYNTAXES, CT[0].file_meta.TransferSyntaxUID}
    np.testing.assert_array_equal(read_series(tmp_path / "got").hu, plain_hu)


def run_dcmtk(program, *arguments):
    command = [require_program(program), *map(str, arguments)]
    return subprocess.run(command, check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize(
    ("syntax", "option"), [(JPEGLosslessSV1, "-xs"), (JPEGLSLossless, "-xt"), (RLELossless, "-xr")]
)
def test_dcmtk_storescu_sends_compressed_objects(syntax, option, tmp_path):
    files = compressed_files(tmp_path / "made", syntax)
    with PracticePacs() as pacs:
        where = ["-aec", pacs.node.ae_title, pacs.node.host, pacs.node.port]
        run_dcmtk("storescu", option, *where, *files)
        assert syntaxes_of(pacs.folder.glob("*.dcm")) == {syntax}
        retrieval = get_study(pacs.node, STUDY_UID, tmp_path / "got")
    assert syntaxes_of(retrieval.paths) == {syntax}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_dcmtk_getscu_takes_only_uncompressed_objects(syntax, tmp_path):
    """The practice PACS decompresses for a caller who asks for nothing else."""
    with PracticePacs() as pacs:
        store(pacs.node, compressed_files(tmp_path / "made", syntax))
        where = ["-aec", pacs.node.ae_title, pacs.node.host, pacs.node.port]
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}"]
        (tmp_path / "got").mkdir()
        run_dcmtk("getscu", "-S", "-od", tmp_path / "got", *keys, *where)
    got = {ds.SOPInstanceUID: ds for ds in map(dcmread, (tmp_path / "got").iterdir())}
    assert len(got) == 6
    assert all(np.array_equal(got[ds.SOPInstanceUID].pixel_array, ds.pixel_array) for ds in CT)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless], ids=lambda uid: uid.keyword)
def test_dcmtk_storescp_takes_our_compressed_objects(syntax, tmp_path):
    files, port = compressed_files(tmp_path / "made", syntax), free_port()
    (tmp_path / "kept").mkdir()
    command = [
        require_program("storescp"),
        "+xa",
        "-od",
        str(tmp_path / "kept"),
        "-aet",
        "STORESCP",
        str(port),
    ]
    with running(command, port):
        assert store(Node("STORESCP", "127.0.0.1", port), files).sent == 6
    assert syntaxes_of((tmp_path / "kept").iterdir()) == {syntax}


@pytest.fixture(scope="module")
def with_results(tmp_path_factory):
    """The small CT and our results of it: Secondary Capture, Segmentation, Structured Report."""
    volume = read_series(write_series(CT, tmp_path_factory.mktemp("ct")))
    results = make_results(volume, lung_segmentation(volume, truth_labels(CT).astype(np.uint8)))
    return [*CT, *results.all]


@pytest.mark.parametrize("server", ["practice PACS", "Orthanc"])
def test_a_study_with_our_results_comes_back_whole(server, with_results, tmp_path):
    inbox = free_port()
    with a_server(server, tmp_path, {"MAGICIAN": free_port(), "INBOX": inbox}) as node:
        store(node, with_results)
        got = get_study(node, STUDY_UID, tmp_path / "got")
        with Receiver(tmp_path / "moved", ae_title="INBOX", port=inbox) as receiver:
            moved = move_study(node, STUDY_UID, receiver)
        (tmp_path / "got" / f"{with_results[-1].SOPInstanceUID}.dcm").unlink()
        assert get_study(node, STUDY_UID, tmp_path / "got").received == len(with_results)
    classes = {ds.SOPInstanceUID: ds.SOPClassUID for ds in with_results}
    assert len(set(classes.values())) == 4
    for retrieval in (got, moved):
        assert {path.stem for path in retrieval.paths} == set(classes)


def test_orthanc_is_offered_only_ct_and_the_refusal_is_named(with_results, tmp_path, monkeypatch):
    """A CT-only C-GET gets nothing from Orthanc 1.10, and from 1.12 what it comes to before the
    first other object.
    """
    offered = retrieve_request.storage_contexts
    monkeypatch.setattr(
        "magician.client.retrieve_request.storage_contexts",
        lambda arrivals: [
            context for context in offered(arrivals) if context.abstract_syntax == CT[0].SOPClassUID
        ],
    )
    with a_server("Orthanc", tmp_path, {"MAGICIAN": free_port()}) as node:
        store(node, with_results)
        with pytest.raises(
            (DimseFailure, IncompleteRetrieve), match="did not agree to send .*Segmentation Storage"
        ):
            get_study(node, STUDY_UID, tmp_path / "got")


def test_many_classes_still_fit_into_one_association(tmp_path):
    """Forty kinds of objects in one study: at most 128 contexts, so fewer encodings of each."""
    objects = []
    for number, context in enumerate(AllStoragePresentationContexts[:40]):
        (ds,) = ct_series(slices=1, rows=8, columns=8)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = context.abstract_syntax
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        objects.append(ds)
    with PracticePacs() as pacs:
        pacs.add(objects)
        assert len(find_studies(pacs.node)) == 1
        assert get_study(pacs.node, STUDY_UID, tmp_path).received == 40


PRIVATE, RETIRED = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.8"
SPECTROSCOPY, NEWER = "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.999.7"


@pytest.fixture(scope="module")
def a_mixed_study():
    """A CT image, and in its study objects of classes that are rare, private, retired or new."""
    objects = [copy.deepcopy(ds) for ds in CT[:5]]
    for ds, sop_class in zip(objects[1:], [PRIVATE, RETIRED, SPECTROSCOPY, NEWER], strict=True):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
        del ds.PixelData
    objects[1].private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"1234")
    return objects


def uids_of(objects):
    return {ds.SOPInstanceUID for ds in objects}


def test_objects_of_unknown_classes_come_back_from_the_practice_pacs(a_mixed_study, tmp_path):
    with PracticePacs() as pacs, Receiver(tmp_path / "moved", ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        store(pacs.node, a_mixed_study)
        got = get_study(pacs.node, STUDY_UID, tmp_path / "got")
        moved = move_study(pacs.node, STUDY_UID, receiver)
    for retrieval in (got, moved):
        assert {path.stem for path in retrieval.paths} == uids_of(a_mixed_study)
    private = dcmread(tmp_path / "got" / f"{a_mixed_study[1].SOPInstanceUID}.dcm")
    assert private == a_mixed_study[1]


def test_objects_of_unknown_classes_go_on_to_another_practice_pacs(a_mixed_study, tmp_path):
    with PracticePacs() as pacs, PracticePacs(ae_title="SECOND") as second:
        pacs.know(second.node)
        pacs.add(a_mixed_study)
        move_study(pacs.node, STUDY_UID, second.node)
        assert {path.stem for path in second.folder.iterdir()} == uids_of(a_mixed_study)


def test_dcmtk_storescp_gets_objects_of_unknown_classes_by_c_move(a_mixed_study, tmp_path):
    port = free_port()
    (tmp_path / "kept").mkdir()
    options = ["--promiscuous", "-od", str(tmp_path / "kept"), "-aet", "STORESCP"]
    with running([require_program("storescp"), *options, str(port)], port), PracticePacs() as pacs:
        destination = Node("STORESCP", "127.0.0.1", port)
        pacs.know(destination)
        pacs.add(a_mixed_study)
        move_study(pacs.node, STUDY_UID, destination)
    kept = {dcmread(path).SOPInstanceUID for path in (tmp_path / "kept").iterdir()}
    assert kept == uids_of(a_mixed_study)


def test_dcmtk_sends_objects_of_unknown_classes(a_mixed_study, tmp_path):
    files = sorted(write_series(a_mixed_study[1:3], tmp_path / "made").iterdir())
    with PracticePacs() as pacs, Receiver(tmp_path / "inbox") as receiver:
        for listener in (pacs, receiver):
            where = ["-aec", listener.node.ae_title, listener.node.host, listener.node.port]
            run_dcmtk("dcmsend", *where, *files)  # storescu knows no private class
            assert {path.stem for path in listener.folder.iterdir()} == uids_of(a_mixed_study[1:3])


def test_an_object_that_can_not_be_decompressed_fails_alone(tmp_path, caplog):
    """Its pixels are elsewhere, and getscu takes only uncompressed objects."""
    objects = [copy.deepcopy(ds) for ds in CT[:3]]
    del objects[1].PixelData
    objects[1].PixelDataProviderURL = "http://127.0.0.1/pixels"
    objects[1].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.94"  # JPIP Referenced
    with PracticePacs() as pacs:
        assert store(pacs.node, objects).sent == 3
        where = ["-aec", pacs.node.ae_title, pacs.node.host, pacs.node.port]
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}"]
        (tmp_path / "dcmtk").mkdir()
        run_dcmtk("getscu", "-S", "-od", tmp_path / "dcmtk", *keys, *where)
        assert get_study(pacs.node, STUDY_UID, tmp_path / "ours").received == 3
    got = {dcmread(path).SOPInstanceUID for path in (tmp_path / "dcmtk").iterdir()}
    assert got == {objects[0].SOPInstanceUID, objects[2].SOPInstanceUID}
    assert f"Can't decompress {objects[1].SOPInstanceUID} (JPIP Referenced)" in caplog.text


def test_dcmtk_getscu_gets_what_it_knows_of_a_mixed_study(a_mixed_study, tmp_path):
    with PracticePacs() as pacs:
        pacs.add(a_mixed_study)
        where = ["-aec", pacs.node.ae_title, pacs.node.host, pacs.node.port]
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}"]
        run_dcmtk("getscu", "-S", "-od", tmp_path, *keys, *where)
    got = {dcmread(path).SOPInstanceUID for path in tmp_path.iterdir()}
    assert got >= {a_mixed_study[0].SOPInstanceUID, a_mixed_study[3].SOPInstanceUID}
