"""What a CT series can look like: each case is read exactly, voxel by voxel, or refused in words
that say where.

The table is the one by which common readers were compared; each of its cases was found in practice,
and most of them are read by at least one reader without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    CORONAL,
    PRONE,
    ct_series,
    lung_segmentation,
    set_stored_values,
    truth_labels,
    write_series,
)
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
    generate_uid,
)

from magician.ct.volume import list_series, read_series
from magician.errors import ResultError, SeriesError
from magician.results.make import make_results

UID = ct_series(slices=2)[0].SeriesInstanceUID


def shift(
    datasets: list[Dataset], millimetres: Callable[[int], tuple[float, float, float]]
) -> list[Dataset]:
    """Move image number i by what a function of i gives."""
    for i, ds in enumerate(datasets):
        moved = np.array(ds.ImagePositionPatient, float) + millimetres(i)
        ds.ImagePositionPatient = [round(x, 6) for x in moved.tolist()]
    return datasets


def change(
    datasets: list[Dataset], which: slice = slice(None), **elements: object
) -> list[Dataset]:
    for ds in datasets[which]:
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
    return datasets


def another(ds: Dataset, **elements: object) -> Dataset:
    """Return a copy under a UID of its own."""
    copy = deepcopy(ds)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[str(elements)]
    )
    return change([copy], **elements)[0]


def signed(datasets: list[Dataset]) -> list[Dataset]:
    change(datasets, PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=0)
    for ds in datasets:
        set_stored_values(ds, pixel_array(ds).astype(int) - 1024)
    return datasets


def padded(datasets: list[Dataset]) -> list[Dataset]:
    for ds in signed(datasets):
        values = pixel_array(ds).copy()
        values[:4] = -2000
        set_stored_values(ds, values)
        ds.add_new("PixelPaddingValue", "SS", -2000)
    return datasets


def rescaled(datasets: list[Dataset]) -> list[Dataset]:
    for i, ds in enumerate(datasets):
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + i / 7, -1000 - i / 3
    return datasets


def noisy(amplitude: float) -> Callable[[int], tuple[float, float, float]]:
    """Positions that are off by up to so much, up and down in turn."""
    return lambda i: (0, 0, amplitude * (-1) ** i)


def two_acquisitions() -> list[Dataset]:
    later = change(ct_series(), AcquisitionNumber=2)
    shift(later, lambda i: (0, 0, 1.5))
    return ct_series() + [another(ds, InstanceNumber=20 + i) for i, ds in enumerate(later)]


def with_localizer() -> list[Dataset]:
    scout = another(
        ct_series()[0],
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=list(CORONAL),
    )
    return [*ct_series(), scout]


READ = {
    "plain": ct_series,
    "unsigned, 12 bits stored": lambda: change(ct_series(), BitsStored=12, HighBit=11),
    "signed, 16 bits stored": lambda: signed(ct_series()),
    "pixels that are not square": lambda: ct_series(spacing_mm=(2.5, 1.5, 1.2)),
    "prone": lambda: ct_series(orientation=PRONE),
    "Slice Location in reverse": lambda: [
        change([ds], SliceLocation=-i)[0] for i, ds in enumerate(ct_series())
    ],
    "jitter of 0.004 mm": lambda: shift(ct_series(), noisy(0.004)),
    "jitter of 0.05 mm": lambda: shift(ct_series(), noisy(0.025)),
    "localizer in the series": with_localizer,
    "a rescale of its own for each slice": lambda: rescaled(ct_series()),
    "padding of -2000": lambda: padded(ct_series()),
}  # fmt: skip

REFUSED = {
    "one slice missing": (
        lambda: [ds for i, ds in enumerate(ct_series()) if i != 5],
        "Slices are missing (they are 3.00 mm apart elsewhere): about 1 after Image 5 at -154.50 "
        "mm, before Image 7 at -148.50 mm.",
    ),
    "two images at one position": (
        lambda: [*ct_series(), another(ct_series()[3], InstanceNumber=99)],
        "1 position(s) hold more than one image: Image 4 at -157.50 mm and Image 99 at -157.50 mm.",
    ),
    "spacing that goes from 3 to 5 mm": (
        lambda: shift(ct_series(), lambda i: (0, 0, 2 * max(0, i - 8))),
        "The slices are not evenly spaced: 3.00 to 5.00 mm apart, mostly 3.00 mm, but 5.00 mm "
        "between Image 9 at -142.50 mm and Image 10 at -137.50 mm.",
    ),
    "jitter of 0.3 mm": (
        lambda: shift(ct_series(), noisy(0.15)),
        "The slices are not evenly spaced: 2.70 to 3.30 mm apart",
    ),
    "gantry tilt": (
        lambda: shift(ct_series(), lambda i: (0, i * 3 * np.tan(np.radians(15)), 0)),
        "The stack is slanted by 15.00 degrees (gantry tilt): Image 12 at (-53.25, -38.407677, "
        "-133.5) mm does not lie straight above Image 1 at (-53.25, -47.25, -166.5) mm.",
    ),
    "two acquisitions": (
        two_acquisitions,
        "The series holds two acquisitions that overlap: number 1 from -166.50 to -133.50 mm, "
        "number 2 from -165.00 to -132.00 mm.",
    ),
    "two frames of reference": (
        lambda: change(ct_series(), slice(8, None), FrameOfReferenceUID="1.2.3"),
        "The series mixes 2 frames of reference, so their positions can't be compared: 8 images, "
        "Image 1 at (-53.25, -47.25, -166.5) mm to Image 8 at (-53.25, -47.25, -145.5) mm; 4 "
        "images, Image 9 at",
    ),
    "mixed matrix": (
        lambda: [*ct_series()[:6], *ct_series(rows=32)[6:]],
        "The series mixes 2 numbers of rows: 6 images, Image 1 at",
    ),
    "no position": (
        lambda: change(ct_series(), slice(5, 6), ImagePositionPatient=None),
        "Image 6 has no usable ImagePositionPatient",
    ),
    "no position anywhere": (
        lambda: change(ct_series(), ImagePositionPatient=None),
        "Image 1 has no usable ImagePositionPatient: found [nan]. The same holds for 12 of 12 "
        "images.",
    ),
    "MONOCHROME1": (
        lambda: change(ct_series(), slice(2, 4), PhotometricInterpretation="MONOCHROME1"),
        "2 images, Image 3 at (-53.25, -47.25, -160.5) mm to Image 4 at (-53.25, -47.25, -157.5) "
        "mm: Photometric Interpretation is MONOCHROME1; CT needs MONOCHROME2.",
    ),
}


def truth(datasets: list[Dataset]) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and affine of straight slices in order, worked out without the library."""
    datasets = [ds for ds in datasets if "LOCALIZER" not in ds.ImageType]
    hu = np.array(
        [pixel_array(ds) * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in datasets]
    )
    hu[hu == -2000] = -1024
    first, last = datasets[0], datasets[-1]
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, first.PixelSpacing)
    start, end = (np.array(ds.ImagePositionPatient, float) for ds in (first, last))
    affine = np.eye(4)
    affine[:3] = np.stack(
        [
            (end - start) / (len(hu) - 1),
            along_column * between_rows,
            along_row * between_columns,
            start,
        ],
        axis=1,
    )
    return hu.astype(np.float32), affine


def assert_read_exactly(folder: Path, datasets: list[Dataset]) -> None:
    volume = read_series(folder, UID)
    hu, affine = truth(datasets)
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.affine, affine, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", READ.values(), ids=READ)
def test_read_exactly(make, tmp_path):
    write_series(make(), tmp_path)
    assert_read_exactly(tmp_path, make())


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_in_words(make, words, tmp_path):
    write_series(make(), tmp_path)
    with pytest.raises(SeriesError) as caught:
        read_series(tmp_path, UID)
    assert words in str(caught.value)


# ------------------------------------------------------------------------- enhanced multi-frame CT


def sequence(**elements: object) -> Sequence:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


TOP_LEVEL = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "Modality", "Manufacturer", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "FrameOfReferenceUID",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
)  # fmt: skip


def enhanced(
    datasets: list[Dataset],
    *,
    shared: tuple[str, ...] = (),
    sop_class: str = EnhancedCTImageStorage,
    number: int = 1,
) -> Dataset:
    """Put single images into one enhanced object, in the given order; what is `shared` stands once
    for all frames.
    """
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
    uid = generate_uid(entropy_srcs=["enhanced", str(number)])
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    for keyword in TOP_LEVEL:
        if keyword in datasets[0]:
            image[keyword] = deepcopy(datasets[0][keyword])
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.InstanceNumber, image.NumberOfFrames = number, len(datasets)
    groups = [groups_of(ds) for ds in datasets]
    common = Dataset()
    for keyword in shared:
        common[keyword] = groups[0][keyword]
        for group in groups:
            del group[keyword]
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [common], groups
    image.PixelData = b"".join(ds.PixelData for ds in datasets)
    image["PixelData"].VR = "OW"
    return image


def groups_of(ds: Dataset) -> Dataset:
    group = Dataset()
    group.FrameContentSequence = sequence(FrameAcquisitionNumber=ds.AcquisitionNumber)
    group.PixelMeasuresSequence = sequence(
        PixelSpacing=ds.PixelSpacing, SliceThickness=ds.SliceThickness
    )
    group.PlanePositionSequence = sequence(ImagePositionPatient=ds.ImagePositionPatient)
    group.PlaneOrientationSequence = sequence(ImageOrientationPatient=ds.ImageOrientationPatient)
    group.PixelValueTransformationSequence = sequence(
        RescaleSlope=ds.RescaleSlope, RescaleIntercept=ds.RescaleIntercept, RescaleType="HU"
    )
    group.CTImageFrameTypeSequence = sequence(
        FrameType=[*ds.ImageType, "NONE"], VolumetricProperties="VOLUME"
    )
    group.CTReconstructionSequence = sequence(ConvolutionKernel="B31f")
    return group


SHARED = (
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
)
ALL_SHARED = (*SHARED, "PixelValueTransformationSequence")
ANY_ORDER = np.random.default_rng(3).permutation(12).tolist()


@pytest.mark.parametrize(
    "sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage]
)
@pytest.mark.parametrize(
    "shared", [(), SHARED, ALL_SHARED], ids=["all per frame", "some shared", "most shared"]
)
@pytest.mark.parametrize("name", READ)
def test_enhanced_is_read_exactly(name, shared, sop_class, tmp_path):
    datasets = READ[name]()
    if "rescale" in name and shared == ALL_SHARED:
        shared = SHARED
    if "localizer" in name and shared:
        shared = ("PixelMeasuresSequence",)
    order = [*ANY_ORDER, *range(12, len(datasets))]
    write_series(
        [enhanced([datasets[i] for i in order], shared=shared, sop_class=sop_class)], tmp_path
    )
    assert_read_exactly(tmp_path, datasets)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "one slice missing",
            "about 1 after Frame 5 of image 1 at -154.50 mm, before Frame 6 of image 1 at -148.50",
        ),
        (
            "two images at one position",
            "Frame 4 of image 1 at -157.50 mm and Frame 13 of image 1 at -157.50 mm",
        ),
        (
            "spacing that goes from 3 to 5 mm",
            "between Frame 9 of image 1 at -142.50 mm and Frame 10 of image 1",
        ),
        ("jitter of 0.3 mm", "not evenly spaced: 2.70 to 3.30 mm apart"),
        ("gantry tilt", "slanted by 15.00 degrees (gantry tilt): Frame 12 of image 1 at"),
        (
            "two acquisitions",
            "number 1 from -166.50 to -133.50 mm, number 2 from -165.00 to -132.00 mm",
        ),
        ("no position", "Frame 6 of image 1 has no usable ImagePositionPatient"),
    ],
)
def test_enhanced_is_refused_in_words(name, words, tmp_path):
    write_series([enhanced(REFUSED[name][0]())], tmp_path)
    with pytest.raises(SeriesError) as caught:
        read_series(tmp_path, UID)
    assert words in str(caught.value)


def test_enhanced_in_several_objects(tmp_path):
    datasets = ct_series()
    write_series([enhanced(datasets[:7]), enhanced(datasets[7:], number=2)], tmp_path)
    assert_read_exactly(tmp_path, datasets)


def test_enhanced_and_compressed(tmp_path):
    image = enhanced(ct_series())
    image.compress(RLELossless, generate_instance_uid=False)
    write_series([image], tmp_path)
    assert_read_exactly(tmp_path, ct_series())


def test_enhanced_equals_what_highdicom_reads(tmp_path):
    import highdicom as hd

    (path,) = write_series([enhanced(rescaled(ct_series()), shared=SHARED)], tmp_path).iterdir()
    volume, other = (
        read_series(tmp_path),
        hd.imread(path).get_volume(dtype=np.float64, apply_voi_transform=False),
    )
    grid = hd.Volume(np.zeros(volume.hu.shape), volume.affine, coordinate_system="PATIENT")
    np.testing.assert_allclose(other.match_geometry(grid).array, volume.hu, atol=1e-3)


def test_enhanced_is_chosen_and_described_like_single_images(tmp_path):
    write_series([enhanced(ct_series(), shared=SHARED)], tmp_path)
    (only,) = list_series(tmp_path)
    assert (only.images, only.slices, only.thickness_mm, only.kernel) == (1, 12, 3, "B31f")
    assert only.reason.startswith(
        "The only series of axial CT images that shows lungs: 12 slices, 3 mm thick"
    )
    assert len(read_series(tmp_path).hu) == 12


def test_enhanced_and_derived_is_not_chosen(tmp_path):
    write_series(
        [enhanced(change(ct_series(), ImageType=["DERIVED", "SECONDARY", "AXIAL"]))], tmp_path
    )
    (only,) = list_series(tmp_path)
    assert (
        only.reason
        == "Its images are derived from other images (Image Type DERIVED, SECONDARY, AXIAL, NONE)."
    )


def test_enhanced_that_describes_too_few_frames(tmp_path):
    image = enhanced(ct_series())
    image.NumberOfFrames = 13
    write_series([image], tmp_path)
    with pytest.raises(SeriesError, match=r"holds 13 frames and describes 12 of them"):
        read_series(tmp_path, UID)


def test_enhanced_that_is_cut_short(tmp_path):
    (path,) = write_series([enhanced(ct_series())], tmp_path).iterdir()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SeriesError, match="The pixel data of Frame"):
        read_series(tmp_path, UID)


def test_enhanced_and_single_images_in_one_series(tmp_path):
    write_series([enhanced(ct_series()[:6]), *ct_series()[6:]], tmp_path)
    with pytest.raises(SeriesError, match="mixes single images and multi-frame images"):
        read_series(tmp_path, UID)


def test_results_of_enhanced_ct_are_refused_in_words(tmp_path):
    write_series([enhanced(ct_series())], tmp_path)
    volume = read_series(tmp_path)
    with pytest.raises(ResultError, match=r"multi-frame CT.*as single images"):
        make_results(volume, lung_segmentation(volume, truth_labels(ct_series())))


def test_headers_of_enhanced_say_where_each_frame_lies(tmp_path):
    (path,) = write_series([enhanced([ct_series()[i] for i in ANY_ORDER])], tmp_path).iterdir()
    volume = read_series(tmp_path)
    assert [header.frame_number for header in volume.headers] == [
        ANY_ORDER.index(i) + 1 for i in range(12)
    ]
    assert volume.paths == (path,) * 12
    assert [list(h.ImagePositionPatient) for h in volume.headers] == [
        ds.ImagePositionPatient for ds in ct_series()
    ]
    assert dcmread(path).SOPInstanceUID == volume.headers[0].SOPInstanceUID
