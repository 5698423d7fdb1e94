"""Pictures of what is no CT: MR, radiographs, ultrasound, Secondary Capture."""

import re

import numpy as np
import pytest
from helpers import ct_series
from pydicom import Dataset, Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    MRImageStorage,
    MRSpectroscopyStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    generate_uid,
)
from web_requests import ask, changed, picture_path, series_path

from magician.practice_pacs.pacs import PracticePacs
from magician.rendering.windowing import window
from magician.web.page import serve

RAMP = np.arange(0, 4096, 16).reshape(16, 16)  # 12 bits
DAMAGED = "This object is damaged, or of a kind that this page does not show."


@pytest.fixture(scope="module")
def pacs():
    with PracticePacs() as pacs:
        yield pacs


@pytest.fixture(scope="module")
def own_page(pacs):
    with serve(pacs) as page:
        yield page


def image(values, sop_class, modality, *, stored=None, high=None, signed=False, **elements):
    """A grey image with these stored values, and nothing that its kind need not have."""
    (ds,) = ct_series(slices=1, rows=16, columns=16)
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        ds.pop(keyword, None)
    values = np.ascontiguousarray(values)
    bits = values.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored = bits, stored or bits
    ds.HighBit = ds.BitsStored - 1 if high is None else high
    ds.PixelRepresentation = int(signed)
    ds.Rows, ds.Columns = values.shape[:2]
    ds.PixelSpacing = [1, 1]
    ds.SOPClassUID, ds.Modality = sop_class, modality
    ds.StudyInstanceUID = generate_uid()
    ds.SOPInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PixelData = values.tobytes()
    return changed(ds, **elements)


def mr(values, **more):
    return image(values, MRImageStorage, "MR", **more)


def shown(pacs, page, ds, query=""):
    """The pixels of the picture of an object, and no failure on the pages above it."""
    pacs.add([ds])
    for address in (f"studies/{ds.StudyInstanceUID}/", series_path(ds)):
        assert ask(page, address).status == 200
    assert ask(page, f"{series_path(ds)}thumbnail.jpg").status == 200
    return ask(page, picture_path(ds) + query).pixels


def whole_range(values):
    low, high = values.min(), values.max()
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


KINDS = {
    "MR 16 bit": mr(RAMP.astype(np.uint16), stored=16),
    "MR 12 of 16 bit": mr(RAMP.astype(np.uint16), stored=12),
    "MR signed": mr((RAMP - 2048).astype(np.int16), stored=12, signed=True),
    "CR 12 bit": image(
        RAMP.astype(np.uint16), ComputedRadiographyImageStorage, "CR", stored=12
    ),
    "US 8 bit": image((RAMP // 16).astype(np.uint8), UltrasoundImageStorage, "US"),
    "SC 8 bit": image((RAMP // 16).astype(np.uint8), SecondaryCaptureImageStorage, "OT"),
    "CT without slope": image(RAMP.astype(np.uint16), CTImageStorage, "CT", stored=12),
    "upper bits are another's": mr(RAMP.astype(np.uint16) | 0x7000, stored=12),
    "upper bits of signed": mr((RAMP - 2048).astype(np.int16) & 0x0FFF, stored=12, signed=True),
    "high bit 15": mr(RAMP.astype(np.uint16) << 4, stored=12, high=15),
    "32 bit": mr((RAMP * 100_000).astype(np.uint32)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_image_goes_from_its_darkest_to_its_brightest_value(pacs, own_page, kind):
    pixels = shown(pacs, own_page, KINDS[kind], "?window=lung")
    np.testing.assert_array_equal(pixels, whole_range(RAMP))


def test_low_values_of_monochrome1_are_bright(pacs, own_page):
    ds = image(
        RAMP.astype(np.uint16),
        ComputedRadiographyImageStorage,
        "CR",
        PhotometricInterpretation="MONOCHROME1",
    )
    np.testing.assert_array_equal(shown(pacs, own_page, ds), 255 - whole_range(RAMP))


def test_one_bit_a_pixel(pacs, own_page):
    ds = image((RAMP // 16).astype(np.uint8), SecondaryCaptureImageStorage, "OT")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.PixelData = b"\x0f" * 32
    assert shown(pacs, own_page, ds)[0, :8].tolist() == [255] * 4 + [0] * 4


def test_padding_does_not_darken_the_image(pacs, own_page):
    values = RAMP.astype(np.int16) + 1000
    values[0] = -2000
    ds = mr(values, signed=True)
    ds.add_new("PixelPaddingValue", "US", 63536)  # -2000 as unsigned, as some write it
    np.testing.assert_array_equal(shown(pacs, own_page, ds)[1:], whole_range(values[1:]))


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_of_one_value(pacs, own_page, value):
    pixels = shown(pacs, own_page, mr(np.full((16, 16), value, np.uint16)))
    assert np.ptp(pixels) == 0


def test_the_window_of_the_image(pacs, own_page):
    ds = mr(RAMP.astype(np.uint16), WindowCenter=[2000, 1], WindowWidth=[1000, 1])
    np.testing.assert_array_equal(shown(pacs, own_page, ds), window(RAMP, 2000, 1000))


def test_bits_below_the_stored_ones_are_no_part_of_the_value(pacs, own_page):
    ds = mr(RAMP.astype(np.uint16) << 4 | 0xF, stored=12, high=15)
    changed(ds, WindowCenter=2000, WindowWidth=1000)
    np.testing.assert_array_equal(shown(pacs, own_page, ds), window(RAMP, 2000, 1000))


def test_the_window_is_meant_for_rescaled_values(pacs, own_page):
    ds = mr(RAMP.astype(np.uint16), WindowCenter=500, WindowWidth=1000)
    changed(ds, RescaleSlope=0.25, RescaleIntercept=-10, RescaleType="US")
    np.testing.assert_array_equal(shown(pacs, own_page, ds), window(RAMP * 0.25 - 10, 500, 1000))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", [0, 0, 128, 255, 255]),
        ("SIGMOID", [5, 30, 128, 225, 250]),
    ],
)
def test_a_window_that_is_not_linear(pacs, own_page, function, expected):
    values = np.zeros((16, 16), np.uint16)
    values[0, :5] = [0, 250, 500, 750, 1000]
    ds = mr(values, WindowCenter=0.5, WindowWidth=0.5, VOILUTFunction=function, RescaleSlope=0.001)
    ds.RescaleIntercept = 0
    np.testing.assert_allclose(shown(pacs, own_page, ds)[0, :5], expected, atol=1)


def lut(first, entries, bits):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return Sequence([item])


def test_the_voi_lut_of_a_radiograph(pacs, own_page):
    ds = image(RAMP.astype(np.uint16), ComputedRadiographyImageStorage, "CR", stored=12)
    ds.VOILUTSequence = lut(0, np.arange(4096)[::-1], 12)
    ds.WindowCenter, ds.WindowWidth = 1, 1  # the other choice of the image
    expected = np.rint((4095 - RAMP) * (255 / 4095)).astype(np.uint8)
    np.testing.assert_array_equal(shown(pacs, own_page, ds), expected)


def test_the_modality_lut_of_a_radiograph(pacs, own_page):
    ds = image(RAMP.astype(np.uint16), ComputedRadiographyImageStorage, "CR", stored=12)
    ds.ModalityLUTSequence = lut(0, np.arange(4096)[::-1], 16)
    np.testing.assert_array_equal(shown(pacs, own_page, ds), whole_range(4095 - RAMP))


RGB = np.stack([RAMP // 16, 255 - RAMP // 16, np.full_like(RAMP, 90)], axis=-1).astype(np.uint8)


def ybr_of_rgb():
    """The pixels of `RGB` in YBR_FULL (PS3.3 C.7.6.3.1.2)."""
    red, green, blue = np.moveaxis(RGB.astype(float), -1, 0)
    ybr = [
        0.299 * red + 0.587 * green + 0.114 * blue,
        -0.1687 * red - 0.3313 * green + 0.5 * blue + 128,
        0.5 * red - 0.4187 * green - 0.0813 * blue + 128,
    ]
    return np.clip(np.rint(np.stack(ybr, axis=-1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "meant_as", "planar"),
    [
        (RGB, "RGB", 0),
        (RGB.transpose(2, 0, 1), "RGB", 1),
        (ybr_of_rgb(), "YBR_FULL", 0),
    ],
    ids=["RGB", "RGB by planes", "YBR_FULL"],
)
def test_colours_of_an_ultrasound(pacs, own_page, pixels, meant_as, planar):
    ds = image(RGB[..., 0], UltrasoundImageStorage, "US", SamplesPerPixel=3)
    changed(ds, PhotometricInterpretation=meant_as, PlanarConfiguration=planar)
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    np.testing.assert_allclose(shown(pacs, own_page, ds), RGB, atol=2)


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_of_a_palette(pacs, own_page, bits):
    ds = image(RGB[..., 0], UltrasoundImageStorage, "US")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    tables = {"Red": np.arange(256), "Green": 255 - np.arange(256), "Blue": np.full(256, 90)}
    for colour, table in tables.items():
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        table = (table * (256 if bits == 16 else 1)).astype(f"<u{bits // 8}")
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())
    np.testing.assert_array_equal(shown(pacs, own_page, ds), RGB)


def words_of_tile(answer):
    assert answer.status == 406
    return " ".join(re.findall("<text[^>]*>([^<]*)</text>", answer.text))


def segmented_palette(ds):
    """Colours of a table in segments (PS3.3 C.7.9.2), which is easily made to need much memory."""
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4096, 0, 16])
        table = np.array([0, 1, 0, 1, 4095, 65535], "<u2").tobytes()
        setattr(ds, f"Segmented{colour}PaletteColorLookupTableData", table)


@pytest.mark.parametrize(
    "harm",
    [
        lambda ds: ds.pop("PixelData"),
        lambda ds: changed(ds, PixelData=ds.PixelData[:100]),
        lambda ds: changed(ds, HighBit=20, PixelRepresentation=1),
        lambda ds: changed(ds, HighBit=3, PixelRepresentation=1),
        lambda ds: changed(ds, BitsStored=40),
        lambda ds: ds.pop("PhotometricInterpretation"),
        lambda ds: changed(ds, PhotometricInterpretation="PALETTE COLOR"),
        segmented_palette,
        lambda ds: changed(ds, VOILUTSequence=lut(0, [1, 2, 3], 0)),
        lambda ds: changed(ds, SamplesPerPixel=2),
        lambda ds: changed(ds, SamplesPerPixel=3),
    ],
)
def test_a_damaged_grey_image_is_a_tile(pacs, own_page, harm):
    ds = mr(RAMP.astype(np.uint16), stored=12)
    harm(ds)
    pacs.add([ds])
    assert words_of_tile(ask(own_page, picture_path(ds))) == DAMAGED
    assert ask(own_page, series_path(ds)).status == 200


def test_spectra_and_pixels_elsewhere_have_no_picture(pacs, own_page):
    spectra = image(RAMP.astype(np.uint16), MRSpectroscopyStorage, "MR")
    elsewhere = mr(RAMP.astype(np.uint16), PixelDataProviderURL="https://example.org/1")
    for ds in (spectra, elsewhere):
        del ds.PixelData
    pacs.add([spectra, elsewhere])
    assert words_of_tile(ask(own_page, picture_path(spectra))) == "Spectra, which have no picture."
    assert "lie at another server" in words_of_tile(ask(own_page, picture_path(elsewhere)))


def test_a_page_speaks_of_hounsfield_units_only_where_they_are(pacs, own_page):
    (ct,) = ct_series(slices=1, rows=16, columns=16)
    bare = image(RAMP.astype(np.uint16), CTImageStorage, "CT", stored=12)
    resonance = mr(RAMP.astype(np.uint16))
    pacs.add([ct, bare, resonance])
    assert "Window: centre and width in HU" in ask(own_page, series_path(ct)).text
    text = ask(own_page, series_path(bare)).text
    assert "show stored values, and not Hounsfield units (HU)" in text
    assert "Window: centre" not in text
    assert "HU" not in ask(own_page, series_path(resonance)).text
