"""Reading CT: exact, or refused with a sentence that names the slices concerned."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    CORONAL,
    FLIPPED,
    ORIENTATIONS,
    PRONE,
    ct_series,
    real_data,
    set_stored_values,
    truth_labels,
    voxel_points,
    write_series,
)
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    HEVCMP51,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from magician.ct.volume import CTVolume, list_series, read_series
from magician.errors import SeriesError


def read(datasets: list[Dataset], folder: Path) -> CTVolume:
    return read_series(write_series(datasets, folder), datasets[0].SeriesInstanceUID)


def expected_hu(datasets: list[Dataset]) -> np.ndarray:
    return np.array(
        [pixel_array(ds) * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in datasets]
    )


def as_another_series(datasets: list[Dataset], name: str, **changes: object) -> list[Dataset]:
    """Return copies as a series of its own, with some elements changed."""
    copies = deepcopy(datasets)
    for ds in copies:
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=["other series", name])
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[name, ds.SOPInstanceUID])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    return copies


def move(ds: Dataset, **axes: float) -> None:
    """Shift one image in the patient by so many mm along x, y, z."""
    position = [float(x) for x in ds.ImagePositionPatient]
    ds.ImagePositionPatient = [
        round(p + axes.get(axis, 0.0), 6) for p, axis in zip(position, "xyz", strict=True)
    ]


# ------------------------------------------------------------------------------------ what is read


def test_values_are_hounsfield_units(small_series, tmp_path):
    volume = read(small_series, tmp_path)
    assert np.array_equal(volume.hu, expected_hu(small_series))


def test_values_are_float32(small_series, tmp_path):
    assert read(small_series, tmp_path).hu.dtype == np.float32


def test_slices_run_from_feet_to_head(small_series, tmp_path):
    heights = [float(h.ImagePositionPatient[2]) for h in read(small_series, tmp_path).headers]
    assert heights == sorted(heights)


def test_flipped_rows_still_run_from_feet_to_head(tmp_path):
    volume = read(ct_series(orientation=FLIPPED), tmp_path)
    assert volume.affine[2, 0] == pytest.approx(3.0)


def test_coronal_slices_run_along_their_normal(tmp_path):
    volume = read(ct_series(orientation=CORONAL), tmp_path)
    assert volume.affine[:3, 0] == pytest.approx([0, 3, 0])


def test_instance_numbers_and_slice_locations_lie(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        ds.InstanceNumber = len(small_series) - i
        ds.SliceLocation = float(-i)
    assert np.array_equal(read(small_series, tmp_path).hu, expected_hu(small_series))


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_affine_gives_every_voxel_centre(orientation, tmp_path):
    volume = read(ct_series(orientation=orientation, spacing_mm=(2.5, 1.5, 1.2)), tmp_path)
    index = np.stack(np.meshgrid(*map(np.arange, volume.hu.shape), indexing="ij"), axis=-1)
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    assert np.allclose(points, voxel_points(list(volume.headers)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_right_lung_is_where_the_patients_right_is(orientation, tmp_path):
    volume = read(ct_series(orientation=orientation), tmp_path)
    voxels = np.argwhere(truth_labels(list(volume.headers)) == 1)
    assert (volume.affine @ [*voxels.mean(axis=0), 1])[0] == pytest.approx(-20, abs=1)


def test_spacing_is_slice_row_column(tmp_path):
    assert read(ct_series(spacing_mm=(2.5, 1.5, 1.2)), tmp_path).spacing_mm == pytest.approx(
        (2.5, 1.5, 1.2)
    )


def test_slice_spacing_comes_from_positions_not_from_thickness(small_series, tmp_path):
    for ds in small_series:
        ds.SliceThickness = 5
        ds.SpacingBetweenSlices = 5
    assert read(small_series, tmp_path).spacing_mm[0] == pytest.approx(3.0)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_sitk_image_has_the_same_geometry(orientation, tmp_path):
    volume = read(ct_series(orientation=orientation, spacing_mm=(2.5, 1.5, 1.2)), tmp_path)
    point = volume.to_sitk().TransformIndexToPhysicalPoint((7, 5, 3))  # column, row, slice
    assert point == pytest.approx((volume.affine @ [3, 5, 7, 1])[:3].tolist(), abs=1e-4)


def test_sitk_image_has_the_same_values(small_series, tmp_path):
    volume = read(small_series, tmp_path)
    assert volume.to_sitk()[7, 5, 3] == volume.hu[3, 5, 7]


def test_headers_hold_no_pixel_data(small_folder):
    assert not any("PixelData" in header for header in read_series(small_folder).headers)


def test_paths_belong_to_headers(small_folder):
    volume = read_series(small_folder)
    assert [dcmread(p).SOPInstanceUID for p in volume.paths] == [
        h.SOPInstanceUID for h in volume.headers
    ]


def test_each_slice_has_its_own_rescale(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        ds.RescaleSlope = 0.5 + i / 7
        ds.RescaleIntercept = -1000 - i / 3
    assert np.array_equal(
        read(small_series, tmp_path).hu, expected_hu(small_series).astype(np.float32)
    )


def test_signed_values(small_series, tmp_path):
    for ds in small_series:
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit, ds.RescaleIntercept = 1, 16, 15, 0
        set_stored_values(ds, pixel_array(ds).astype(int) - 1024)
    assert np.array_equal(read(small_series, tmp_path).hu, expected_hu(small_series))


def test_bits_above_the_stored_ones_are_not_part_of_the_value(small_series, tmp_path):
    clean = expected_hu(small_series)
    for ds in small_series:
        set_stored_values(ds, pixel_array(ds) | 0xA000)
    assert np.array_equal(read(small_series, tmp_path).hu, clean)


def test_negative_values_of_12_bits_that_were_not_sign_extended(small_series, tmp_path):
    for ds in small_series:
        set_stored_values(ds, np.full((ds.Rows, ds.Columns), 0x0FFF))
        ds.PixelRepresentation = 1
    assert (read(small_series, tmp_path).hu == -1 - 1024).all()


def test_padding_becomes_air(small_series, tmp_path):
    ds = small_series[4]
    values = pixel_array(ds).copy()
    values[:5] = 4000
    set_stored_values(ds, values)
    ds.PixelPaddingValue = 4000
    assert (read(small_series, tmp_path).hu[4, :5] == -1024).all()


def test_padding_touches_nothing_else(small_series, tmp_path):
    for ds in small_series:
        ds.PixelPaddingValue = 4000
    assert np.array_equal(read(small_series, tmp_path).hu, expected_hu(small_series))


def test_padding_range_becomes_air(small_series, tmp_path):
    ds = small_series[4]
    values = pixel_array(ds).copy()
    values[0], values[1], values[2] = 3990, 3995, 4000
    set_stored_values(ds, values)
    ds.PixelPaddingValue, ds.PixelPaddingRangeLimit = 4000, 3990
    assert (read(small_series, tmp_path).hu[4, :3] == -1024).all()


def test_negative_padding_written_as_an_unsigned_number(small_series, tmp_path):
    for ds in small_series:
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
        set_stored_values(ds, np.full((ds.Rows, ds.Columns), -2000))
        ds.add_new("PixelPaddingValue", "US", 63536)
    assert (read(small_series, tmp_path).hu == -1024).all()


def test_padding_that_needs_more_bits_than_are_stored(small_series, tmp_path):
    """63536 ends in the twelve bits of 2096, which is bone and no padding."""
    ds = small_series[4]
    values = pixel_array(ds).copy()
    values[0], values[1] = 63536, 2096
    set_stored_values(ds, values)
    ds.PixelPaddingValue = 63536
    hu = read(small_series, tmp_path).hu[4]
    assert [hu[0, 0], hu[1, 0]] == [-1024, 2096 - 1024]


def test_implicit_transfer_syntax(small_series, tmp_path):
    for ds in small_series:
        ds.PixelPaddingValue = 4000
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert np.array_equal(read(small_series, tmp_path).hu, expected_hu(small_series))


def test_big_endian_transfer_syntax(small_series, tmp_path):
    clean = expected_hu(small_series)
    for ds in small_series:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.set_original_encoding(False, False)
    assert np.array_equal(read(small_series, tmp_path).hu, clean)


def test_compressed_transfer_syntax(small_series, tmp_path):
    clean = expected_hu(small_series)
    for ds in small_series:
        ds.compress(RLELossless, generate_instance_uid=False)
    assert np.array_equal(read(small_series, tmp_path).hu, clean)


def test_positions_rounded_to_a_tenth_of_a_millimetre(tmp_path):
    datasets = ct_series(spacing_mm=(1.25, 1.5, 1.5), slices=20)
    for ds in datasets:
        ds.ImagePositionPatient = [round(float(x), 1) for x in ds.ImagePositionPatient]
    assert read(datasets, tmp_path).spacing_mm[0] == pytest.approx(1.25, abs=0.01)


def test_acquisitions_one_after_the_other_are_one_volume(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        ds.AcquisitionNumber = 1 + i // 4
    assert len(read(small_series, tmp_path).hu) == 12


def test_localizer_within_the_series_is_left_out(small_series, tmp_path):
    scout = deepcopy(small_series[0])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = list(CORONAL)
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    assert len(read([*small_series, scout], tmp_path).hu) == 12


def test_the_same_file_twice_counts_once(small_series, tmp_path):
    write_series(small_series[:5], tmp_path / "again")
    assert len(read(small_series, tmp_path).hu) == 12


def test_folders_are_searched_to_any_depth(small_series, tmp_path):
    write_series(small_series[:6], tmp_path / "a" / "b")
    write_series(small_series[6:], tmp_path / "c")
    assert len(read_series(tmp_path).hu) == 12


def test_what_is_not_dicom_is_ignored(small_folder):
    (small_folder / "notes.txt").write_text("not an image")
    (small_folder / "empty.dcm").write_bytes(b"")
    assert len(read_series(small_folder).hu) == 12


# --------------------------------------------------------------------------------- what is refused


def refused(datasets: list[Dataset], folder: Path) -> str:
    with pytest.raises(SeriesError) as caught:
        read(datasets, folder)
    return str(caught.value)


def test_one_slice_missing(small_series, tmp_path):
    del small_series[5]  # at -148.5 - 3 = -151.5 mm
    assert "about 1 after Image 5 at -154.50 mm, before Image 7 at -148.50 mm" in refused(
        small_series, tmp_path
    )


def test_one_slice_missing_of_a_prone_series(tmp_path):
    datasets = ct_series(orientation=PRONE)
    del datasets[5]
    assert "Slices are missing (they are 3.00 mm apart elsewhere)" in refused(datasets, tmp_path)


def test_two_slices_at_one_position(small_series, tmp_path):
    twin = deepcopy(small_series[3])
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    twin.InstanceNumber = 99
    message = refused([*small_series, twin], tmp_path)
    assert "Image 4 at -157.50 mm" in message
    assert "Image 99 at -157.50 mm" in message


def test_two_different_images_under_one_uid(small_series, tmp_path):
    impostor = deepcopy(small_series[3])
    set_stored_values(impostor, pixel_array(impostor) + 1)
    write_series([impostor], tmp_path / "other")
    assert "more than one image: Image 4" in refused(small_series, tmp_path)


def test_spacing_that_changes(tmp_path):
    datasets = ct_series(slices=12)
    for i in range(8, 12):
        move(datasets[i], z=1.3 * (i - 7))
    assert "3.00 to 4.30 mm apart, mostly 3.00 mm, but 4.30 mm between Image 8" in refused(
        datasets, tmp_path
    )


def test_one_slice_out_of_place(small_series, tmp_path):
    move(small_series[4], z=0.3)
    assert "not evenly spaced: 2.70 to 3.30 mm" in refused(small_series, tmp_path)


def test_drift_too_small_for_one_step(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        move(ds, z=0.03 * min(i, 11 - i))
    assert "away from where even spacing puts it" in refused(small_series, tmp_path)


def test_gantry_tilt(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        move(ds, y=i * 3.0 * np.tan(np.radians(15)))
    assert "slanted by 15.00 degrees" in refused(small_series, tmp_path)


def test_slight_gantry_tilt(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        move(ds, y=i * 3.0 * np.tan(np.radians(0.5)))
    assert "slanted by 0.50 degrees" in refused(small_series, tmp_path)


def test_slice_shifted_sideways(small_series, tmp_path):
    move(small_series[6], x=1.5)
    assert "Image 7 at -148.50 mm is 1.50 mm away" in refused(small_series, tmp_path)


def test_several_orientations(small_series, tmp_path):
    small_series[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    assert "mixes orientations" in refused(small_series, tmp_path)


def test_slices_turned_by_a_tenth_of_a_degree(small_series, tmp_path):
    s, c = np.sin(np.radians(0.1)), np.cos(np.radians(0.1))
    small_series[2].ImageOrientationPatient = [round(x, 8) for x in (c, s, 0, -s, c, 0)]
    assert "Image 3" in refused(small_series, tmp_path)


def test_two_frames_of_reference(small_series, tmp_path):
    for ds in small_series[:4]:
        ds.FrameOfReferenceUID = "1.2.3"
    message = refused(small_series, tmp_path)
    assert "mixes 2 frames of reference" in message
    assert "4 images, Image 1 at" in message


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("Rows", 32, "numbers of rows"),
        ("Columns", 128, "numbers of columns"),
        ("PatientID", "SOMEBODY-ELSE", "patient IDs"),
        ("StudyInstanceUID", "1.2.3", "studies"),
        ("PixelSpacing", [1.5, 1.6], "pixel spacings"),
    ],
)
def test_images_that_do_not_belong_together(keyword, value, words, small_series, tmp_path):
    setattr(small_series[5], keyword, value)
    assert words in refused(small_series, tmp_path)


def test_two_acquisitions_interleaved(small_series, tmp_path):
    for i, ds in enumerate(small_series):
        ds.AcquisitionNumber = 1 + i % 2
    message = refused(small_series, tmp_path)
    assert "number 1 from -166.50 to -136.50 mm, number 2 from -163.50 to -133.50 mm" in message


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_geometry_not_given(keyword, small_series, tmp_path):
    del small_series[5][keyword]
    assert f"Image 6 has no usable {keyword}" in refused(small_series, tmp_path)


def test_position_with_two_numbers(small_series, tmp_path):
    small_series[5].ImagePositionPatient = [1, 2]
    assert "Image 6 has no usable ImagePositionPatient: found [1.0, 2.0]" in refused(
        small_series, tmp_path
    )


def test_number_of_rows_in_three_bytes(small_series, small_folder):
    for path in small_folder.iterdir():
        content = path.read_bytes()
        assert b"\x28\0\x10\0US\2\0\x40\0" in content
        path.write_bytes(
            content.replace(b"\x28\0\x10\0US\2\0\x40\0", b"\x28\0\x10\0US\3\0\x40\0\0")
        )
    assert "Image 1 has no usable Rows" in list_series(small_folder)[0].reason
    with pytest.raises(SeriesError, match="Image 1 has no usable Rows"):
        read_series(small_folder, small_series[0].SeriesInstanceUID)


def test_rows_and_columns_not_at_right_angles(small_series, tmp_path):
    for ds in small_series:
        ds.ImageOrientationPatient = [1, 0, 0, 0.6, 0.8, 0]
    assert "not at right angles" in refused(small_series, tmp_path)


def test_pixels_without_size(small_series, tmp_path):
    for ds in small_series:
        ds.PixelSpacing = [0, 0]
    assert "have no size" in refused(small_series, tmp_path)


def test_frame_of_reference_not_given(small_series, tmp_path):
    for ds in small_series:
        del ds.FrameOfReferenceUID
    assert "has no FrameOfReferenceUID" in refused(small_series, tmp_path)


def test_monochrome1(small_series, tmp_path):
    for ds in small_series:
        ds.PhotometricInterpretation = "MONOCHROME1"
    assert "MONOCHROME1" in refused(small_series, tmp_path)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_rescale_not_given(keyword, small_series, tmp_path):
    del small_series[7][keyword]
    assert f"Image 8 has no usable {keyword}" in refused(small_series, tmp_path)


def test_rescale_slope_zero(small_series, tmp_path):
    small_series[7].RescaleSlope = 0
    assert "Image 8 has Rescale Slope 0" in refused(small_series, tmp_path)


def test_values_in_another_unit(small_series, tmp_path):
    for ds in small_series:
        ds.RescaleType = "EDW"
    assert "EDW and not Hounsfield units" in refused(small_series, tmp_path)


def test_pixel_data_cut_short(small_series, tmp_path):
    small_series[7].PixelData = small_series[7].PixelData[:1000]
    assert "The pixel data of Image 8" in refused(small_series, tmp_path)


def test_file_cut_within_the_pixel_data(small_folder):
    path = sorted(small_folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(SeriesError, match=path.name):
        read_series(small_folder)


def test_file_cut_before_the_pixel_data(small_folder):
    path = sorted(small_folder.iterdir())[3]
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    with pytest.raises(SeriesError, match=path.name):
        read_series(small_folder)


def test_file_cut_within_the_header(small_folder):
    path = sorted(small_folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(SeriesError, match=f"can't be read.*{path.name}"):
        read_series(small_folder)


@pytest.mark.parametrize("length", range(132, 1200, 89))
def test_file_cut_anywhere_is_never_read_as_less(length, small_folder):
    path = sorted(small_folder.iterdir())[0]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SeriesError):
        read_series(small_folder)


def test_unknown_transfer_syntax(small_series, tmp_path):
    for ds in small_series:
        ds.PixelData = encapsulate([ds.PixelData])
        ds.file_meta.TransferSyntaxUID = HEVCMP51
    assert "can't be decoded" in refused(small_series, tmp_path)


def test_one_image_only(small_series, tmp_path):
    assert "one image only" in refused(small_series[:1], tmp_path)


def test_series_that_is_not_there(small_folder):
    with pytest.raises(
        SeriesError, match=r"no series 1\.2\.3 .*Small phantom|no series 1\.2\.3 .*12 images"
    ):
        read_series(small_folder, "1.2.3")


def test_no_dicom_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(SeriesError, match="There is no DICOM file"):
        read_series(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(SeriesError, match="There is no folder"):
        list_series(tmp_path / "nowhere")


def test_dicomdir_alone_is_no_series(small_series, tmp_path):
    directory = small_series[0]
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = (
        MediaStorageDirectoryStorage
    )
    del directory.SeriesInstanceUID
    write_series([directory], tmp_path)
    with pytest.raises(SeriesError, match="There is no DICOM file"):
        list_series(tmp_path)


# ---------------------------------------------------------------------------------- what is chosen


def chosen(folder: Path) -> list[str]:
    return [one.description for one in list_series(folder) if one.chosen]


def reason(folder: Path, description: str) -> str:
    return next(one.reason for one in list_series(folder) if one.description == description)


def test_the_only_ct_is_chosen(small_folder):
    assert reason(small_folder, "Small phantom") == (
        "The only series of axial CT images that shows lungs: 12 slices, 3 mm thick; lungs over "
        "30 of 36 mm."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "only localizers"),
        ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]}, "derived from other images"),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT"}, "secondary captures"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"},
            "no CT images (modality PT)",
        ),
        ({"ImageOrientationPatient": list(CORONAL)}, "not axial"),
        ({}, "Its lungs go on above its slices; series 2 shows more of them"),
    ],
)
def test_why_a_series_is_not_chosen(changes, words, small_series, tmp_path):
    other = as_another_series(small_series, "other", SeriesDescription="Other", **changes)
    folder = write_series([*small_series, *other[:-1]], tmp_path)
    assert words in reason(folder, "Other")


def test_original_images_made_after_the_examination_may_be_chosen(small_series, tmp_path):
    for ds in small_series:
        ds.ImageType = ["ORIGINAL", "SECONDARY", "AXIAL"]
    assert chosen(write_series(small_series, tmp_path)) == ["Small phantom"]


def test_ct_of_two_studies_is_not_chosen_from(small_series, tmp_path):
    folder = write_series([*small_series, *ct_series(seed=1)], tmp_path)
    assert chosen(folder) == []


def test_ct_of_two_studies_must_be_asked_for(small_series, tmp_path):
    folder = write_series([*small_series, *ct_series(seed=1)], tmp_path)
    with pytest.raises(SeriesError, match="several studies: say which series"):
        read_series(folder)


def test_derived_series_is_read_when_asked_for(small_series, tmp_path):
    derived = as_another_series(small_series, "derived", ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    assert len(read(derived, tmp_path).hu) == 12


def test_localizers_are_refused_even_when_asked_for(small_series, tmp_path):
    scouts = as_another_series(
        small_series[:2], "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    assert "only localizers" in refused(scouts, tmp_path)


def test_series_are_listed_by_number(small_series, tmp_path):
    other = as_another_series(small_series, "other", SeriesDescription="Other", SeriesNumber=1)
    folder = write_series([*small_series, *other], tmp_path)
    assert [one.description for one in list_series(folder)] == ["Other", "Small phantom"]


@pytest.mark.parametrize("number", [None, "missing"])
def test_series_without_a_number_is_listed_all_the_same(number, small_series, tmp_path):
    for ds in small_series:
        ds.SeriesNumber = None
        if number == "missing":
            del ds.SeriesNumber
    assert chosen(write_series(small_series, tmp_path)) == ["Small phantom"]


# ------------------------------------------------------------------------------------- other facts


@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("lung-pet-ct-dx-A0001", (64, 512, 512), (5.0, 0.841796875, 0.841796875)),
        ("lidc-idri-0001", (16, 512, 512), (2.5, 0.703125, 0.703125)),
        ("lidc-idri-0002", (12, 512, 512), (1.25, 0.681641, 0.681641)),
    ],
)
def test_real_ct(name, shape, spacing):
    volume = read_series(real_data(name))
    assert volume.hu.shape == shape
    assert volume.spacing_mm == pytest.approx(spacing)


def test_real_ct_equals_what_simpleitk_reads(real_chest_ct):
    import SimpleITK as sitk

    volume = read_series(real_chest_ct)
    image = sitk.ReadImage([str(path) for path in volume.paths])
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.hu)
    assert image.GetOrigin() == pytest.approx(volume.to_sitk().GetOrigin())


def test_real_padding_is_air():
    volume = read_series(real_data("lidc-idri-0002"))
    assert volume.hu[:, 0, 0].tolist() == [-1024] * 12


def test_import_loads_nothing_heavy():
    code = (
        "import sys, magician.ct.volume\n"
        "print({'SimpleITK', 'highdicom', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"


def test_ct_is_read_and_rendered_where_pynetdicom_is_missing(small_folder):
    code = (
        "import sys\n"
        "sys.modules['pynetdicom'] = None\n"  # an import of it now fails
        "from magician.ct.volume import read_series\n"
        "import magician.segmentation.lungs\n"
        "from magician.rendering.slice_renderer import SliceRenderer\n"
        "volume = read_series(sys.argv[1])\n"
        "print(SliceRenderer(volume, None).draw('axial', (0, 0, 0), 40, 400).size)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, small_folder], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "(72, 64)"
