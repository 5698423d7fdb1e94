"""Which series of a study is read, and what is said of the others: whole studies as scanners and
PACS deliver them.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import permutations
from pathlib import Path

import pytest
from helpers import CORONAL, ct_series, real_data, set_stored_values, write_series
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage, XRayRadiationDoseSRStorage, generate_uid

from magician.ct import hounsfield
from magician.ct.ranking import sharpness
from magician.ct.selection import SeriesSummary
from magician.ct.volume import list_series, read_series
from magician.errors import SeriesError

HEIGHT_MM = 60  # of the small patient, whose lungs are 32 mm high


def series(
    name: str, number: int, *, thickness: float = 3.0, step: float | None = None, **changes: object
):
    """Make one series of the small patient; what is not said is an axial soft-tissue series of the
    whole chest.
    """
    step = step or thickness
    geometry = {key: changes.pop(key) for key in ("orientation", "centre_mm") if key in changes}
    height = changes.pop("height_mm", HEIGHT_MM)
    datasets = ct_series(slices=round(height / step), spacing_mm=(step, 1.5, 1.5), **geometry)
    series_uid = generate_uid(entropy_srcs=["choice", name])
    for ds in datasets:
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[name, ds.SOPInstanceUID])
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = series_uid, number, name
        ds.SliceThickness, ds.ConvolutionKernel = thickness, "B31f"
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        complete_meta(ds)
    return datasets


def complete_meta(ds: Dataset) -> None:
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID


def solid(datasets: list[Dataset]) -> list[Dataset]:
    """Fill the lungs with soft tissue: a head, a belly."""
    for ds in datasets:
        values = pixel_array(ds).copy()
        values[(values > 100) & (values < 300)] = 1064
        set_stored_values(ds, values)
    return datasets


def dose_report(number: int) -> list[Dataset]:
    (ds,) = series(
        "Dose report", number, height_mm=3, SOPClassUID=XRayRadiationDoseSRStorage, Modality="SR"
    )
    for keyword in (
        "PixelData",
        "Rows",
        "Columns",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
    ):
        del ds[keyword]
    return [ds]


def scouts(number: int) -> list[Dataset]:
    datasets = series("Scout", number, height_mm=6, orientation=CORONAL)
    for ds in datasets:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return datasets


DERIVED = ["DERIVED", "SECONDARY"]
STUDY = {
    "Scout": lambda: scouts(1),
    "Thick": lambda: series("Thick", 2, thickness=5),
    "Thin": lambda: series("Thin", 3, thickness=1),
    "Thin bone": lambda: series("Thin bone", 4, thickness=1, ConvolutionKernel="B70s"),
    "Very thin": lambda: series("Very thin", 5, thickness=0.5),
    "Coronal MPR": lambda: series(
        "Coronal MPR", 6, orientation=CORONAL, ImageType=[*DERIVED, "MPR"]
    ),
    "MIP": lambda: series("MIP", 7, thickness=8, step=2, ImageType=[*DERIVED, "AXIAL", "MIP"]),
    "Abdomen": lambda: solid(series("Abdomen", 8, thickness=1, centre_mm=(0.0, 0.0, -300.0))),
    "Head": lambda: solid(series("Head", 9, thickness=1, centre_mm=(0.0, 0.0, 200.0))),
    "Later phase": lambda: series(
        "Later phase",
        10,
        thickness=1,
        ContrastBolusAgent="Iodine",
        AcquisitionTime="101512",
        AcquisitionNumber=3,
    ),
    "Half": lambda: series("Half", 11, thickness=1, height_mm=18, centre_mm=(0.0, 0.0, -159.0)),
    "Spaced": lambda: series("Spaced", 12, thickness=1, step=5),
    "Gap": lambda: [ds for i, ds in enumerate(series("Gap", 13, thickness=1)) if i != 30],
    "Dose page": lambda: series(
        "Dose page",
        14,
        height_mm=3,
        SOPClassUID=SecondaryCaptureImageStorage,
        ImageType=[*DERIVED, "SCREEN SAVE"],
    ),
    "Made later": lambda: series(
        "Made later", 15, thickness=1, ImageType=["ORIGINAL", "SECONDARY", "AXIAL"]
    ),
    "Dose report": lambda: dose_report(999),
}


def summaries(folder: Path, *names: str) -> dict[str, SeriesSummary]:
    write_series([ds for name in names for ds in STUDY[name]()], folder)
    return {one.description: one for one in list_series(folder)}


def chosen(found: dict[str, SeriesSummary]) -> list[str]:
    return [name for name, one in found.items() if one.chosen]


@pytest.fixture(scope="module")
def whole_study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return write_series([ds for make in STUDY.values() for ds in make()], folder)


@pytest.fixture(scope="module")
def listed(whole_study) -> dict[str, SeriesSummary]:
    return {one.description: one for one in list_series(whole_study)}


REASONS = {
    "Scout": "It holds only localizers (scouts): pictures for planning the scan.",
    "Thick": "Its slices are 5 mm thick; series 3 has 1 mm.",
    "Thin": "The best of 8 for lungs: 60 slices, 1 mm thick, kernel B31f; lungs over 30 of 60 mm.",
    "Thin bone": "Its kernel, B70s, is sharp, with noise and edges that disturb measuring; series "
    "3 has B31f.",
    "Very thin": "It has a slice every 0.5 mm, which shows a lung no better than series 3 with "
    "one every 1 mm, and takes longer.",
    "Coronal MPR": "Its images are derived from other images (Image Type DERIVED, SECONDARY, MPR).",
    "MIP": "Its images are derived from other images (Image Type DERIVED, SECONDARY, AXIAL, MIP).",
    "Abdomen": "No lungs are seen in the 5 of its 60 slices that were looked at.",
    "Head": "No lungs are seen in the 5 of its 60 slices that were looked at.",
    "Later phase": "It would do as well as series 3, which comes first by number. It is of "
    "another moment or phase (with contrast, at 10:15:12; the other: no contrast named, at "
    "10:11:12).",
    "Half": "It shows lungs over 14 mm only; series 3 over 30 mm.",
    "Spaced": "Its slices are 1 mm thick and 5 mm apart, with nothing imaged between; series 3 "
    "has no gaps.",
    "Gap": "It can't be read exactly. Slices are missing (they are 1.00 mm apart elsewhere): "
    "about 1 after Image 30 at -150.50 mm, before Image 32 at -148.50 mm.",
    "Dose page": "It holds secondary captures: pictures, without Hounsfield units or positions.",
    "Made later": "Its images were made after the examination (Image Type ORIGINAL, SECONDARY, "
    "AXIAL); those of series 3 during it.",
    "Dose report": "It is a dose report: numbers about the radiation, no images.",
}


@pytest.mark.parametrize("name", REASONS)
def test_each_series_of_a_whole_study_gets_its_sentence(name, listed):
    assert listed[name].reason == REASONS[name]


def test_one_series_of_a_whole_study_is_chosen_and_read(listed, whole_study):
    assert chosen(listed) == ["Thin"]
    assert {header.SeriesDescription for header in read_series(whole_study).headers} == {"Thin"}


def test_what_is_asked_for_is_read_instead(listed, whole_study):
    volume = read_series(whole_study, listed["Thick"].series_instance_uid)
    assert volume.spacing_mm[0] == pytest.approx(5)


def test_a_summary_holds_what_was_weighed(listed):
    thin = listed["Thin bone"]
    assert (thin.number, thin.images, thin.slices, thin.kernel) == (4, 60, 60, "B70s")
    assert (thin.thickness_mm, thin.step_mm, thin.coverage_mm) == pytest.approx((1, 1, 60))
    assert thin.lung_mm == pytest.approx(32, abs=5)
    assert listed["Dose report"].slices == 0
    assert listed["Coronal MPR"].lung_mm is None
    assert listed["Abdomen"].lung_mm == 0


# What is chosen if the better ones are not there
@pytest.mark.parametrize(
    ("names", "winner"),
    [
        (["Thick", "Thin bone"], "Thin bone"),  # thin before soft
        (["Thick", "Half"], "Thick"),  # the whole lung before thin
        (["Thick", "Spaced"], "Thick"),  # no gaps before thin
        (["Spaced", "Half"], "Spaced"),
        (["Thick", "Gap"], "Thick"),  # what can be read before thin
        (["Very thin", "Thin bone"], "Very thin"),  # soft before fewer slices
        (["Very thin", "Thick"], "Very thin"),
        (["Later phase", "Made later"], "Later phase"),
        (["Abdomen", "Half"], "Half"),
        (["Scout", "Dose report", "Thick"], "Thick"),
    ],
)
def test_what_counts_more(names, winner, tmp_path):
    assert chosen(summaries(tmp_path, *names)) == [winner]


@pytest.mark.parametrize(
    "names",
    [
        ["Scout"],
        ["Coronal MPR", "MIP"],
        ["Head"],
        ["Abdomen", "Dose report"],
        ["Gap"],
        ["Dose page"],
    ],
)
def test_nothing_is_chosen_where_nothing_will_do(names, tmp_path):
    found = summaries(tmp_path, *names)
    assert chosen(found) == []
    with pytest.raises(SeriesError, match="no series that can be chosen") as caught:
        read_series(tmp_path)
    assert all(one.reason in str(caught.value) for one in found.values())


def test_the_order_of_files_and_numbers_of_series_do_not_matter(tmp_path):
    """Whoever comes first, the same one wins."""
    for number, names in enumerate(permutations(["Thick", "Thin", "Thin bone"])):
        datasets = []
        for place, name in enumerate(names):
            for ds in STUDY[name]():
                ds.SeriesNumber = place + 1
                datasets.append(ds)
        folder = write_series(datasets, tmp_path / str(number))
        assert [one.description for one in list_series(folder) if one.chosen] == ["Thin"]


def test_twins_are_decided_by_number_and_then_by_uid(tmp_path):
    twins = [series(name, 0, thickness=3) for name in ("a", "b", "c")]
    write_series([ds for twin in twins for ds in twin], tmp_path)
    first = min(twin[0].SeriesInstanceUID for twin in twins)
    assert [one.series_instance_uid for one in list_series(tmp_path) if one.chosen] == [first]
    others = [one.reason for one in list_series(tmp_path) if not one.chosen]
    assert (
        others == [f"It would do as well as the series {first}, which comes first by number."] * 2
    )


def test_lungs_that_are_cut_off_are_said_to_be(tmp_path):
    write_series(
        series("Half", 2, thickness=1, height_mm=18, centre_mm=(0.0, 0.0, -159.0)), tmp_path
    )
    (only,) = list_series(tmp_path)
    assert only.reason.endswith("lungs over 14 of 18 mm, and they go on above.")


def test_only_slices_that_could_tell_something_are_decoded(tmp_path, monkeypatch):
    write_series(series("Thin", 1, thickness=0.25), tmp_path)
    decoded = []
    decode_slice = hounsfield.decode_slice
    monkeypatch.setattr(
        "magician.ct.selection.decode_slice",
        lambda *given: decoded.append(given[2]) or decode_slice(*given),
    )
    (only,) = list_series(tmp_path)
    assert only.slices == 240
    assert len(set(decoded)) == len(decoded) <= 12


def test_nothing_is_decoded_when_a_series_is_asked_for(small_series, tmp_path, monkeypatch):
    monkeypatch.setattr("magician.ct.selection.decode_slice", None)
    write_series(small_series, tmp_path)
    assert len(read_series(tmp_path, small_series[0].SeriesInstanceUID).hu) == 12


def test_pixels_that_can_not_be_decoded_rule_a_series_out(tmp_path):
    broken = series("Broken", 1, thickness=1)
    for ds in broken:
        ds.PixelData = ds.PixelData[:1000]
    write_series([*broken, *STUDY["Thick"]()], tmp_path)
    found = {one.description: one for one in list_series(tmp_path)}
    assert chosen(found) == ["Thick"]
    assert "The pixel data of Image" in found["Broken"].reason


@pytest.mark.parametrize(
    ("level", "names"),
    [
        (
            0,
            [
                "B31f",
                "b45f",
                "I30f",
                "Br36d",
                "STANDARD",
                "SOFT",
                "CHEST",
                "B",
                "C",
                "FC08",
                "FC18-H",
                "YA",
            ],
        ),
        (1, ["", "SOMETHING NEW", "F"]),
        (2, ["B50f", "I60f", "Bl57d", "LUNG", "SHARP", "L", "D", "FC51", "YC"]),
        (3, ["B70s", "H70h", "Hr72", "BONE", "BONEPLUS", "EDGE", "FC30", "FC81", "E", "YD"]),
    ],
)
def test_sharpness_by_the_name_of_the_kernel(level, names):
    assert {name: sharpness(name) for name in names} == dict.fromkeys(names, level)


# ------------------------------------------------------------------------------------ real studies


def test_lungs_of_a_real_patient_are_found_where_they_are(real_chest_ct):
    """The reference mask has lung in 53 of the 64 slices, from number 2; the outermost show next to
    nothing.
    """
    (only,) = list_series(real_chest_ct)
    assert only.chosen
    assert only.lung_mm == pytest.approx(240, abs=10)


def test_a_real_abdomen_and_a_real_neck_show_no_lungs(real_chest_ct, tmp_path):
    volume = read_series(real_chest_ct)
    for name, part in {"belly": slice(0, 6), "neck": slice(56, 64)}.items():
        (tmp_path / name).mkdir()
        for path in volume.paths[part]:
            (tmp_path / name / path.name).symlink_to(path)
        (only,) = list_series(tmp_path / name)
        assert only.reason.startswith("No lungs are seen"), name


@pytest.mark.parametrize("name", ["lidc-idri-0001", "lidc-idri-0002", "lidc-idri-0003"])
def test_a_part_of_real_lungs_is_read_and_said_to_be_one(name):
    (only,) = list_series(real_data(name))
    assert only.chosen
    assert only.reason.endswith("and they go on below and above.")


def test_a_real_patient_beside_the_same_in_thick_slices(real_chest_ct, tmp_path):
    """Every second slice, said to be 10 mm thick: whole lungs, but coarser."""
    for i, path in enumerate(read_series(real_chest_ct).paths):
        (tmp_path / path.name).symlink_to(path)
        if i % 2 == 0:
            ds = deepcopy(dcmread(path))
            ds.SOPInstanceUID, ds.SeriesInstanceUID = generate_uid(), "1.2.3"
            ds.SeriesDescription, ds.SeriesNumber, ds.SliceThickness = "thick", 1, 10
            complete_meta(ds)
            ds.save_as(tmp_path / f"{i}.dcm")
    found = {one.description: one for one in list_series(tmp_path)}
    assert chosen(found) == ["5mm"]
    assert found["thick"].reason == "Its slices are 10 mm thick; series 3 has 5 mm."
