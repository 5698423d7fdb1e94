"""The pictures: window, colours and shape to the pixel, and a tile for what has no picture."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import ct_series, write_series
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from web_requests import ask, changed, picture_path, series_path

from magician.ct.volume import read_series
from magician.rendering.windowing import PRESETS, window
from magician.web.pictures import THUMBNAIL


@pytest.mark.parametrize(
    ("query", "preset"), [("lung", "lung"), ("soft-tissue", "soft tissue"), ("bone", "bone")]
)
def test_a_picture_of_a_ct_is_window_to_the_pixel(page, volume, query, preset):
    for i in (0, 6):
        answer = ask(page, f"{picture_path(volume.headers[i])}?window={query}")
        assert answer.headers["Content-Type"] == "image/png"
        np.testing.assert_array_equal(answer.pixels, window(volume.hu[i], *PRESETS[preset]))


def test_a_jpeg_differs_a_little(page, volume):
    answer = ask(page, f"{picture_path(volume.headers[6], 'jpg')}?window=lung")
    assert answer.headers["Content-Type"] == "image/jpeg"
    difference = answer.pixels.astype(float) - window(volume.hu[6], *PRESETS["lung"])
    assert np.abs(difference).mean() < 3


def test_the_overlay_keeps_its_colours(page, results):
    overlay = results.overlay[6]
    np.testing.assert_array_equal(ask(page, picture_path(overlay)).pixels, overlay.pixel_array)
    jpeg = ask(page, picture_path(overlay, "jpg"))
    assert np.abs(jpeg.pixels.astype(float) - overlay.pixel_array).mean() < 4
    # colours as fine as the greys: 4:4:4
    assert get_sampling(Image.open(io.BytesIO(jpeg.body))) == 0


def test_a_thumbnail_is_a_small_picture_from_the_middle(pacs, own_page, tmp_path):
    large = ct_series(slices=3, rows=200, columns=240)
    pacs.add(large)
    volume = read_series(write_series(large, tmp_path))
    expected = Image.fromarray(window(volume.hu[1], *PRESETS["soft tissue"]))
    expected.thumbnail((THUMBNAIL, THUMBNAIL))
    answer = ask(own_page, f"{series_path(large[0])}thumbnail.png")
    np.testing.assert_array_equal(answer.pixels, np.asarray(expected))
    assert max(answer.pixels.shape) == THUMBNAIL


def test_without_a_preset_the_window_is_that_of_the_image(pacs, own_page, small_series, volume):
    pacs.add([changed(small_series[6], WindowCenter=[-500, 40], WindowWidth=[900, 400])])
    np.testing.assert_array_equal(
        ask(own_page, picture_path(small_series[6])).pixels, window(volume.hu[6], -500, 900)
    )


@pytest.mark.parametrize("width", [0, -5, None])
def test_a_window_that_is_none_is_not_taken(pacs, own_page, small_series, volume, width):
    pacs.add([changed(small_series[6], WindowCenter=1, WindowWidth=width)])
    np.testing.assert_array_equal(
        ask(own_page, picture_path(small_series[6])).pixels, window(volume.hu[6], 40, 400)
    )


def test_what_is_no_ct_goes_from_its_darkest_to_its_brightest_pixel(pacs, own_page, small_series):
    image = changed(
        small_series[6],
        SOPClassUID=MRImageStorage,
        Modality="MR",
        PhotometricInterpretation="MONOCHROME1",
    )
    image.file_meta.MediaStorageSOPClassUID = MRImageStorage
    pacs.add([image])
    pixels = ask(own_page, f"{picture_path(image)}?window=lung").pixels
    stored = image.pixel_array.astype(int)
    # MONOCHROME1: low values are bright
    assert pixels[np.unravel_index(stored.argmin(), stored.shape)] == 255
    assert pixels[np.unravel_index(stored.argmax(), stored.shape)] == 0


def test_pixels_that_are_not_square_are_stretched(pacs, own_page):
    flat = ct_series(slices=1, rows=40, columns=40, spacing_mm=(3, 3, 1.5))
    pacs.add(flat)
    assert ask(own_page, picture_path(flat[0])).pixels.shape == (80, 40)


def words_of_tile(answer):
    """The words on the tile that stands for a picture."""
    assert (answer.status, answer.headers["Content-Type"]) == (406, "image/svg+xml; charset=utf-8")
    return " ".join(re.findall("<text[^>]*>([^<]*)</text>", answer.text))


def test_a_segmentation_and_a_report_say_why_they_have_no_picture(page, results):
    assert words_of_tile(ask(page, picture_path(results.seg))) == (
        "A mask, which has no picture of its own: see it in the overlay series."
    )
    assert (
        words_of_tile(ask(page, f"{series_path(results.sr)}thumbnail.jpg"))
        == "No picture: this object holds text and numbers."
    )
    text = ask(page, series_path(results.seg)).text
    assert "SEG (Segmentation): A mask" in text
    assert "<img" not in text


def test_several_frames_in_one_object(pacs, own_page, small_series):
    pacs.add([changed(small_series[0], NumberOfFrames=2)])
    assert words_of_tile(ask(own_page, picture_path(small_series[0]))) == (
        "Several frames in one object, which this page does not show."
    )


DAMAGED = "This object is damaged, or of a kind that this page does not show."
TOO_LARGE = "This object is larger than this page shows."


@pytest.mark.parametrize(
    "harm",
    [
        lambda image: image.pop("PixelData"),
        lambda image: setattr(image, "PixelData", image.PixelData[:100]),
        lambda image: setattr(image, "BitsAllocated", 7),
        lambda image: setattr(image, "RescaleSlope", 0),
        lambda image: setattr(image, "SamplesPerPixel", 2),
    ],
)
def test_a_damaged_image_is_a_tile_and_the_others_are_there(pacs, own_page, small_series, harm):
    harm(small_series[0])
    pacs.add(small_series)
    assert words_of_tile(ask(own_page, picture_path(small_series[0]))) == DAMAGED
    assert ask(own_page, picture_path(small_series[1])).status == 200
    assert ask(own_page, series_path(small_series[0])).status == 200


def test_a_file_that_is_damaged_on_the_disk(pacs, own_page, small_series):
    pacs.add(small_series)
    Path(pacs.folder, f"{small_series[0].SOPInstanceUID}.dcm").write_bytes(b"")
    assert words_of_tile(ask(own_page, picture_path(small_series[0]))) == DAMAGED
    assert "of 12" in ask(own_page, series_path(small_series[0])).text


def test_an_image_that_claims_to_be_huge(pacs, own_page, small_series):
    pacs.add([changed(small_series[0], Rows=65535, Columns=65535)])
    assert words_of_tile(ask(own_page, picture_path(small_series[0]))) == TOO_LARGE


def big_endian(*numbers, size=2):
    return b"".join(number.to_bytes(size) for number in numbers)


HUGE = {
    JPEGLSLossless: b"\xff\xd8\xff\xe0\x00\x04JF\xff\xf7"
    + big_endian(11)
    + b"\x10"
    + big_endian(60_000, 60_000),
    JPEG2000Lossless: b"\xff\x4f\xff\x51"
    + big_endian(41, 0)
    + big_endian(60_000, 60_000, 0, 0, size=4),
    RLELossless: big_endian(1) + b"\x81\x00" * 100_000,
}


@pytest.mark.parametrize("syntax", HUGE, ids=lambda syntax: syntax.name)
def test_compressed_pixels_that_claim_more_than_the_header_are_not_decoded(
    pacs, own_page, small_series, syntax, monkeypatch
):
    decoded = []
    monkeypatch.setattr(
        "magician.web.pictures.decode_slice", lambda image, *others: decoded.append(image)
    )
    image = small_series[0]
    image.PixelData = encapsulate([HUGE[syntax]])
    image.file_meta.TransferSyntaxUID = syntax
    pacs.add([image])
    assert words_of_tile(ask(own_page, picture_path(image))) == TOO_LARGE
    assert decoded == []


@pytest.mark.parametrize(
    "syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless], ids=lambda syntax: syntax.name
)
def test_an_honestly_compressed_image_is_shown(pacs, own_page, small_series, volume, syntax):
    image = small_series[6]
    if syntax == JPEG2000Lossless:
        compress_by_pillow(image)
    else:
        image.compress(syntax, generate_instance_uid=False)
    pacs.add([image])
    answer = ask(own_page, f"{picture_path(image)}?window=lung")
    np.testing.assert_array_equal(answer.pixels, window(volume.hu[6], *PRESETS["lung"]))


def compress_by_pillow(image):
    """Pillow writes JPEG 2000, too: 16 bits, lossless."""
    content = io.BytesIO()
    Image.fromarray(image.pixel_array.astype(np.uint16)).save(
        content, "JPEG2000", irreversible=False, no_jp2=True
    )
    image.PixelData = encapsulate([content.getvalue()])
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless


def test_a_deflated_object_is_not_inflated(pacs, own_page, small_series):
    for image in small_series:
        image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pacs.add(small_series)
    assert (
        words_of_tile(ask(own_page, picture_path(small_series[0])))
        == "A deflated object, which this page does not show."
    )
