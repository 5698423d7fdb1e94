"""What a listener takes and what it refuses, and what the sender learns of a refusal."""

import errno
import warnings
from contextlib import nullcontext

import pytest
from helpers import ct_series
from listeners import LISTENERS, a_listener
from peers import scp
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage

from magician.client.retrieve import move_study
from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.dimse.reception import Refused, read_header
from magician.errors import DimseFailure, IncompleteRetrieve, MagicianError
from magician.files import parse_whole, read_whole
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.limits import Limits

STORAGE = "1.2.840.10008.5.1.4.1.1."
SPECTROSCOPY, SEGMENTATION, PARAMETRIC_MAP = f"{STORAGE}4.2", f"{STORAGE}66.4", f"{STORAGE}30"
ULTRASOUND, RETIRED_ULTRASOUND, RT_DOSE = f"{STORAGE}6.1", f"{STORAGE}6", f"{STORAGE}481.2"
PRIVATE = "1.3.12.2.1107.5.9.1"
JPIP, JPIP_DEFLATED = UID("1.2.840.10008.1.2.4.94"), UID("1.2.840.10008.1.2.4.95")


def an_object(sop_class=CTImageStorage, **elements):
    """An object of 8 x 8 pixels of 16 bits, changed; a None takes an element away."""
    (ds,) = ct_series(slices=1, rows=8, columns=8)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def colour(photometric_interpretation, pixel_bytes, **elements):
    return an_object(
        ULTRASOUND,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PhotometricInterpretation=photometric_interpretation,
        PixelData=bytes(pixel_bytes),
        **elements,
    )


NO_PIXELS = {"PixelData": None}
TAKEN = {
    "spectroscopy has rows and no pixels": an_object(SPECTROSCOPY, **NO_PIXELS),
    "a private class may have rows": an_object(PRIVATE, **NO_PIXELS),
    "a presentation state with stray rows": an_object(f"{STORAGE}11.1", **NO_PIXELS),
    "raw data": an_object(f"{STORAGE}66", Rows=None, Columns=None, **NO_PIXELS),
    "a waveform": an_object(f"{STORAGE}9.1.1", Rows=None, Columns=None, **NO_PIXELS),
    "a surface segmentation": an_object(f"{STORAGE}66.5", **NO_PIXELS),
    "a class that came to the standard since": an_object(f"{STORAGE}999.1", **NO_PIXELS),
    "pixels on a JPIP server": an_object(PixelDataProviderURL="http://127.0.0.1/1", **NO_PIXELS),
    "RT Dose without grid": an_object(RT_DOSE, Rows=None, Columns=None, **NO_PIXELS),
    "no frames, no pixels": an_object(SEGMENTATION, NumberOfFrames=0, **NO_PIXELS),
    "no frames, empty pixels": an_object(NumberOfFrames=0, PixelData=b""),
    "YBR_FULL_422, two bytes a pixel": colour("YBR_FULL_422", 128),
    "YBR_PARTIAL_422, two bytes a pixel": colour("YBR_PARTIAL_422", 128),
    "YBR_PARTIAL_420, three for two pixels": colour("YBR_PARTIAL_420", 96),
    "YBR_FULL_422 with three bytes a pixel": colour("YBR_FULL_422", 192),
    "an odd number of bytes, unpadded": an_object(
        Rows=7, Columns=9, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes(63)
    ),
}
CUT_SHORT = {
    "a CT without pixels": an_object(**NO_PIXELS),
    "a CT that ends before its rows": an_object(Rows=None, Columns=None, **NO_PIXELS),
    "a segmentation": an_object(SEGMENTATION, **NO_PIXELS),
    "a parametric map": an_object(PARAMETRIC_MAP, **NO_PIXELS),
    "an image of a retired class": an_object(RETIRED_ULTRASOUND, **NO_PIXELS),
    "RT Dose with a grid": an_object(RT_DOSE, **NO_PIXELS),
    "YBR_PARTIAL_422, half of it": colour("YBR_PARTIAL_422", 64),
    "RGB, two bytes a pixel": colour("RGB", 128),
    "three frames, one frame of pixels": an_object(NumberOfFrames=3),
    "a private class, half of its pixels": an_object(PRIVATE, PixelData=bytes(64)),
}


def parsed(ds, syntax=ExplicitVRLittleEndian):
    return parse_whole(encode(ds, False, True), syntax, "It")


@pytest.mark.parametrize("ds", TAKEN.values(), ids=TAKEN)
def test_an_object_that_need_not_be_refused(ds):
    assert parsed(ds).SOPInstanceUID == ds.SOPInstanceUID


@pytest.mark.parametrize("ds", CUT_SHORT.values(), ids=CUT_SHORT)
def test_an_image_without_all_of_its_pixels(ds):
    with pytest.raises(EOFError, match="It ends before the pixels|bytes of pixels"):
        parsed(ds)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("change", "is_whole"),
    [
        (lambda encoded: encoded[:-1], True),  # 63 pixels; the byte that pads them is missing
        (lambda encoded: encoded[:-2], False),
        (lambda encoded: encoded + bytes(1), True),
        (lambda encoded: encoded + bytes(6), True),
        (lambda encoded: encoded + b"\x00\x01", False),
        (lambda encoded: encoded[:-70], False),  # in the header of the pixels
    ],
)
def test_a_byte_of_padding_more_or_less_is_no_fault(change, is_whole, syntax):
    ds = TAKEN["an odd number of bytes, unpadded"]
    encoded = change(encode(ds, syntax.is_implicit_VR, True))
    with nullcontext() if is_whole else pytest.raises(EOFError, match="ends in the middle"):
        assert len(parse_whole(encoded, syntax, "It").PixelData) >= 63


def test_the_last_byte_of_an_even_image_is_no_padding():
    with pytest.raises(EOFError, match="holds 127 bytes of pixels; its attributes say 128"):
        parse_whole(encode(an_object(), False, True)[:-1], ExplicitVRLittleEndian, "It")


def test_a_jpip_object_whose_encoding_can_not_be_read_is_named():
    assert parsed(an_object(PixelDataProviderURL="http://127.0.0.1/1", PixelData=None), JPIP)
    with pytest.raises(ValueError, match="encoded as JPIP Referenced Deflate, which can't be read"):
        parsed(an_object(), JPIP_DEFLATED)


def test_a_file_that_a_retrieve_left_is_held_to_the_same(tmp_path):
    for number, ds in enumerate([TAKEN["spectroscopy has rows and no pixels"], an_object()]):
        dcmwrite(tmp_path / f"{number}.dcm", ds, enforce_file_format=True)
        assert read_whole(tmp_path / f"{number}.dcm") == ds
    dcmwrite(tmp_path / "cut.dcm", CUT_SHORT["a CT without pixels"], enforce_file_format=True)
    with pytest.raises(EOFError, match=r"cut\.dcm ends before the pixels"):
        read_whole(tmp_path / "cut.dcm")


@LISTENERS
@pytest.mark.parametrize("study", ["1.2." + "3" * 68, "1.02.3", "1..2"])
def test_an_odd_study_uid_is_taken_without_a_warning_of_pydicom(name, study, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # here pydicom makes the object, and may warn
        ds = an_object(StudyInstanceUID=study)
        dcmwrite(tmp_path / "odd.dcm", ds, enforce_file_format=True)
    with a_listener(name, tmp_path) as (node, folder):
        assert store(node, [tmp_path / "odd.dcm"]).sent == 1
        assert read_header(dcmread(next(folder.iterdir()))).StudyInstanceUID == study


def refusal_of(node, *objects):
    with pytest.raises(DimseFailure) as caught:
        store(node, list(objects))
    return str(caught.value)


@LISTENERS
def test_the_sender_is_told_why_an_image_is_refused(name, tmp_path, caplog):
    cut = an_object(**NO_PIXELS)
    with a_listener(name, tmp_path) as (node, _):
        words = refusal_of(node, cut)
    assert f"{cut.SOPInstanceUID}: 0xC000 (Failure: cannot understand), " in words
    assert words.endswith("'It ends before the pixels of its image.'.")
    assert f"Refused {cut.SOPInstanceUID}, which is not whole: It ends" in caplog.text


@LISTENERS
def test_each_refused_object_has_its_own_reason(name, tmp_path):
    cut, short = an_object(**NO_PIXELS), colour("RGB", 128)
    with a_listener(name, tmp_path) as (node, _):
        words = refusal_of(node, cut, short)
    assert words.count(cut.SOPInstanceUID) == 2, "both objects have the same UID here"
    assert "'It ends before the pixels of its image.'" in words
    assert "'It holds 128 bytes of pixels; its attributes say 192.'" in words
    assert "log" not in words


@LISTENERS
def test_the_sender_is_told_of_a_full_disk_but_not_where_it_is(name, tmp_path, monkeypatch):
    def no_room(path, content):
        raise OSError(errno.ENOSPC, "No space left", str(path))

    for module in ("magician.dimse.reception", "magician.practice_pacs.archive"):
        monkeypatch.setattr(f"{module}.write_whole", no_room)
    with a_listener(name, tmp_path) as (node, _):
        words = refusal_of(node, an_object())
    assert "0xA700" in words
    assert words.endswith("'It could not be written: No space left'.")


@LISTENERS
def test_the_sender_is_told_of_a_limit(name, tmp_path):
    with a_listener(name, tmp_path, Limits(instances=0)) as (node, _):
        assert "'the folder holds 0 instances, and its limit is 0" in refusal_of(node, an_object())


@LISTENERS
def test_the_sender_is_told_that_an_object_contradicts_its_request(name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pynetdicom.association.encode",
        lambda ds, *encoding: encode(an_object(SOPInstanceUID="1.2.3"), *encoding),
    )
    with a_listener(name, tmp_path) as (node, folder):
        words = refusal_of(node, an_object())
        assert list(folder.iterdir()) == []
    assert words.endswith("'Its SOP Instance UID is not the one of the request'.")


@pytest.mark.parametrize(
    ("reason", "comment"),
    [
        ("short", "short"),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 61 + "..."),
        ("Müller\\C:\n\x00\x1b[0m", "M?ller?C: ??[0m"),
    ],
)
def test_a_comment_is_one_that_the_standard_allows(reason, comment):
    response = Refused(0xC000, "a long story", uid="1.2.3", comment=reason).response
    assert (response.Status, response.ErrorComment) == (0xC000, comment)


def test_a_refusal_knows_its_object_and_its_words_are_bounded():
    refusal = Refused(0xA900, "x" * 10_000, uid="1.2.3")
    assert (refusal.status, refusal.uid, len(str(refusal))) == (0xA900, "1.2.3", 400)


def test_a_refusal_is_told_to_who_watches_with_its_uid(tmp_path):
    class Watcher:
        refusals = []

        def arrived(self, *what):
            raise AssertionError("nothing arrives")

        def refused(self, refusal):
            self.refusals.append((refusal.uid, refusal.status))

    cut = an_object(**NO_PIXELS)
    with Receiver(tmp_path) as receiver, receiver.watched_by(Watcher()):
        refusal_of(receiver.node, cut)
    assert Watcher.refusals == [(cut.SOPInstanceUID, 0xC000)]


def answering(status, comment=None):
    response = Dataset()
    response.Status = status
    if comment:
        response.add_new("ErrorComment", "LO", None)
        response["ErrorComment"]._value = comment
    return scp([(evt.EVT_C_STORE, lambda event: response)], contexts=[CTImageStorage])


def test_a_peer_that_does_not_say_why_has_a_log():
    with answering(0xA700) as node:
        assert refusal_of(node, an_object()).endswith(
            "0xA700 (Refused: out of resources). Its log says why."
        )


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom's, of the peer's comment
def test_what_a_peer_says_is_a_quotation_and_has_an_end():
    with answering(0xA700, "full\x07" + "!" * 1000) as node:
        words = refusal_of(node, an_object())
    assert "'full\\x07!" in words
    assert words.count("!") == 64 - len("full\x07")


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom's, of the long UID
def test_what_this_side_can_not_send_is_not_the_fault_of_the_peer():
    long_uid = "1." + "2" * 63
    with answering(0x0000) as node, pytest.raises(MagicianError) as caught:
        store(node, [an_object(), an_object(SOPInstanceUID=long_uid)])
    words = str(caught.value)
    assert "its SOPInstanceUID has 65 characters" in words
    assert "Nothing was sent" in words
    assert node.ae_title not in words


def test_a_file_of_spectroscopy_is_sent_as_whole(tmp_path):
    path = tmp_path / "spectroscopy.dcm"
    dcmwrite(path, TAKEN["spectroscopy has rows and no pixels"], enforce_file_format=True)
    with Receiver(tmp_path / "inbox") as receiver:
        assert store(receiver.node, [path]).sent == 1


def test_a_receiver_says_itself_that_an_object_is_too_large_for_it(tmp_path):
    small, large = ct_series(slices=2, rows=8, columns=8)
    large.Rows = large.Columns = 256
    large.PixelData = bytes(2 * 256 * 256)
    with (
        PracticePacs() as pacs,
        Receiver(tmp_path, limits=Limits(object_bytes=100_000)) as receiver,
    ):
        pacs.know(receiver.node)
        pacs.add([small, large])
        with pytest.raises(IncompleteRetrieve) as caught:
            move_study(pacs.node, small.StudyInstanceUID, receiver)
    assert caught.value.received == 1
    assert (
        f"refused 1 of them, not the PACS: {large.SOPInstanceUID}, which has more than 100000 "
        f"bytes (limits.object_bytes)"
    ) in str(caught.value)
