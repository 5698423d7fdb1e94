"""The drills of image and result: the right answer passes, and each wrong one gets its sentence."""

from copy import deepcopy

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from magician.checks.segmentation_reader import read_segmentation
from magician.client.store import store
from magician.ct.volume import read_series
from magician.errors import PacsUnreachable, SeriesError
from magician.results.make import Results
from magician.teaching import drills, image_drills
from magician.teaching.exercises import check, drill
from magician.teaching.phantom import teaching_study

OTHER = {"A": "B", "B": "A"}


pytestmark = pytest.mark.usefixtures("own_progress")


def says(answer, words):
    assert not answer.ok
    assert words in answer.sentence


class TestWindowFedToTheNetwork:
    letter = "D"

    @pytest.fixture
    def right(self, case):
        """The answers that a learner finds by measuring, without looking into the drill."""
        air = {key: float(np.median(ct.hu[:, :20])) for key, ct in case.inputs.items()}
        wrong = max(air, key=air.get)
        return {"wrong": wrong, "air": air[wrong], "mask": case.masks[OTHER[wrong]]}

    def test_the_two_masks_differ_and_the_windowed_one_is_worse(self, case, right):
        truth = case.truth > 0
        good, bad = (
            image_drills.dice(case.masks[key] > 0, truth)
            for key in (OTHER[right["wrong"]], right["wrong"])
        )
        assert good > 0.95 > bad

    def test_the_symptom_tells_both_volumes_and_no_cause(self, case):
        assert repr(case).count(" ml") == 2
        assert "window" not in repr(case)

    def test_right(self, right):
        answer = check("drill D", **right)
        assert answer.ok
        assert "Field sign" in answer.sentence

    def test_a_letter_in_lower_case_is_right_too(self, right):
        assert check("drill D", **{**right, "wrong": right["wrong"].lower()}).ok

    def test_nothing_filled_in(self):
        says(check("drill D", wrong=None, air=None, mask=None), "Fill in wrong, air and mask")

    def test_the_right_input_is_accused(self, right):
        says(check("drill D", **{**right, "wrong": OTHER[right["wrong"]]}), "That input is right")

    def test_the_air_of_the_other_input(self, right):
        says(check("drill D", **{**right, "air": -1000}), "the air of the other input")

    def test_a_grey_level(self, right):
        says(check("drill D", **{**right, "air": 60}), "a grey level")

    def test_another_value(self, right):
        says(check("drill D", **{**right, "air": right["air"] + 90}), "another value")

    def test_the_mask_of_the_wrong_input(self, case, right):
        mask = case.masks[right["wrong"]]
        says(check("drill D", **{**right, "mask": mask}), "This mask is from the wrong input")

    def test_a_mask_of_the_whole_ct(self, right):
        says(check("drill D", **{**right, "mask": np.zeros((93, 512, 512))}), "has the shape (93")

    def test_an_empty_mask(self, case, right):
        says(check("drill D", **{**right, "mask": np.zeros_like(case.truth)}), "neither input")

    @pytest.mark.parametrize("name", ["wrong", "air", "mask"])
    @pytest.mark.parametrize("value", [None, "x", [1], object(), Dataset(), float("nan")], ids=str)
    def test_what_no_answer_is_gets_a_sentence(self, right, name, value):
        says(check("drill D", **{**right, name: value}), name)


class TestMirroredOverlay:
    letter = "E"

    @pytest.fixture
    def centres(self, case):
        """The centre of the right lung of each result, in mm, measured in its SEG."""
        found = {}
        for key, results in case.results.items():
            labels = read_segmentation(results.seg, case.volume)
            voxel = np.argwhere(labels == 1).mean(axis=0)
            found[key] = (case.volume.affine @ [*voxel, 1])[:3]
        return found

    @pytest.fixture
    def right(self, centres):
        mirrored = max(centres, key=lambda key: centres[key][0])
        return {"mirrored": mirrored, "x_mm": centres[mirrored][0], "side": "left"}

    def test_both_report_the_same_volumes(self, case):
        counts = [np.bincount(results.labels.ravel()) for results in case.results.values()]
        assert np.array_equal(*counts)

    def test_picture_and_mask_of_one_are_mirrored_together(self, case):
        one, other = (results.overlay[9].pixel_array[:512] for results in case.results.values())
        assert np.array_equal(one, other[:, ::-1])
        assert not np.array_equal(one, other)

    def test_right(self, right):
        answer = check("drill E", **right)
        assert answer.ok
        assert "Field sign" in answer.sentence

    def test_the_other_result(self, right):
        wrong = OTHER[right["mirrored"]]
        says(check("drill E", **{**right, "mirrored": wrong}), "That one is right")

    def test_the_sign_is_lost(self, right):
        says(check("drill E", **{**right, "x_mm": -right["x_mm"]}), "Look at the sign")

    def test_a_column_and_no_millimetres(self, case, right):
        column = (right["x_mm"] - case.volume.affine[0, 3]) / case.volume.affine[0, 2]
        says(check("drill E", **{**right, "x_mm": column}), "a column of the image")

    def test_another_axis(self, centres, right):
        z = centres[right["mirrored"]][2]
        says(check("drill E", **{**right, "x_mm": z}), "That is y or z")

    def test_somewhere_else(self, right):
        says(check("drill E", **{**right, "x_mm": 20}), "lies elsewhere")

    def test_the_wrong_side(self, right):
        says(check("drill E", **{**right, "side": "right"}), "x grows to the patient's left")

    @pytest.mark.parametrize("value", ["70 mm", None, [1, 2], Dataset()], ids=str)
    def test_no_number(self, right, value):
        says(check("drill E", **{**right, "x_mm": value}), "x_mm is one number")


class TestRescaleIgnored:
    letter = "K"

    @pytest.fixture
    def parts(self, case):
        slope, intercept = float(case.image.RescaleSlope), float(case.image.RescaleIntercept)
        return case.image.pixel_array.astype(float), slope, intercept

    def test_the_values_are_those_that_are_stored(self, case):
        assert np.array_equal(case.values, case.image.pixel_array)
        assert case.values.min() >= 0

    def test_right(self, parts):
        stored, slope, intercept = parts
        assert check("drill K", hu=stored * slope + intercept).ok

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda v, s, i: v, "stored values still"),
            (lambda v, s, i: v + i, "The slope is missing"),
            (lambda v, s, i: v * s, "The intercept is missing"),
            (lambda v, s, i: v * s - i, "with its sign"),
            (lambda v, s, i: (v + i) * s, "First the slope"),
            (lambda v, s, i: v * 0, "no HU of this image"),
            (lambda v, s, i: v[:5], "has the shape (5, 512)"),
            (lambda v, s, i: "hu", "an array of numbers"),
        ],
        ids=["unchanged", "slope", "intercept", "sign", "order", "zeros", "rows", "text"],
    )
    def test_wrong(self, parts, make, words):
        says(check("drill K", hu=make(*parts)), words)


class TestSlicesInDisorder:
    letter = "L"

    @pytest.fixture
    def right(self, case):
        """The answers of somebody who reads the files."""
        images = [dcmread(path, stop_before_pixels=True) for path in case.folder.glob("*.dcm")]
        all_z = sorted(float(image.ImagePositionPatient[2]) for image in images)
        axial = sorted(
            float(image.ImagePositionPatient[2])
            for image in images
            if "LOCALIZER" not in image.ImageType
        )
        gap = int(np.argmax(np.diff(axial)))
        distance = (all_z[-1] - all_z[0]) / (len(all_z) - 1)
        return {
            "missing_mm": (axial[gap] + axial[gap + 1]) / 2,
            "off_percent": 100 * (distance / 12 - 1),
        }

    def test_read_series_refuses_it_and_names_the_gap(self, case):
        with pytest.raises(SeriesError, match="Slices are missing"):
            read_series(case.folder, progress=False)

    def test_right(self, right):
        assert check("drill L", **right).ok

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"missing_mm": lambda a: a["missing_mm"] + 12}, "next to the gap"),
            ({"missing_mm": lambda a: 45}, "No slice is missing there"),
            ({"missing_mm": lambda a: None}, "missing_mm is one number"),
            ({"off_percent": lambda a: 1 + a["off_percent"] / 100}, "That is a ratio"),
            ({"off_percent": lambda a: 12 * (1 + a["off_percent"] / 100)}, "in percent?"),
            ({"off_percent": lambda a: -a["off_percent"]}, "too large"),
            ({"off_percent": lambda a: 4.3}, "Count all files"),
        ],
        ids=["neighbour", "elsewhere", "none", "ratio", "mm", "smaller", "other"],
    )
    def test_wrong(self, right, change, words):
        ((name, value),) = change.items()
        says(check("drill L", **{**right, name: value(right)}), words)


class TestResultAstray:
    letter = "M"

    @pytest.fixture
    def attribute(self, case):
        (keyword,) = [
            keyword
            for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")
            if case.result[keyword].value != case.ct[keyword].value
        ]
        return keyword

    @pytest.fixture
    def repaired(self, case, attribute):
        repaired = deepcopy(case.result)
        setattr(repaired, attribute, case.ct[attribute].value)
        return repaired

    def test_right(self, attribute, repaired):
        assert check("drill M", attribute=attribute, repaired=repaired).ok

    def test_not_repaired(self, case, attribute):
        answer = check("drill M", attribute=attribute, repaired=case.result)
        says(answer, f"{attribute} of this SEG differs")

    def test_another_attribute(self, repaired):
        says(check("drill M", attribute="Modality", repaired=repaired), "Not that one")

    def test_the_ct_was_changed_in_place_of_the_result(self, case, attribute):
        says(check("drill M", attribute=attribute, repaired=case.ct), "This is no SEG")

    def test_the_series_of_the_ct(self, case, attribute, repaired):
        repaired.SeriesInstanceUID = case.ct.SeriesInstanceUID
        says(check("drill M", attribute=attribute, repaired=repaired), "not to its series")

    @pytest.mark.parametrize("value", [None, "SEG", 5, [1]], ids=str)
    def test_no_data_set(self, attribute, value):
        says(check("drill M", attribute=attribute, repaired=value), "repaired is a data set")


class TestSameJobTwice:
    letter = "N"

    def test_the_pacs_is_down_at_first(self, case):
        with pytest.raises(PacsUnreachable):
            store(case.node, case.jobs["A"][0])
        says(check("drill N", doubled="A", held=6), "not started")

    def test_nothing_and_too_little_was_stored(self, case):
        case.pacs.start()
        says(check("drill N", doubled="A", held=6), "The PACS holds nothing")
        store(case.node, case.jobs["A"][0])
        says(check("drill N", doubled="A", held=6), "holds 2 objects: not every run")

    def test_after_all_four_runs(self, case):
        case.pacs.start()
        for job in case.jobs.values():
            for run in job:
                assert store(case.node, run).sent == 2
        doubled = max(
            "AB", key=lambda key: len({one.SOPInstanceUID for run in case.jobs[key] for one in run})
        )
        assert check("drill N", doubled=doubled, held=6).ok
        says(check("drill N", doubled=OTHER[doubled], held=6), "the UIDs of its first")
        says(check("drill N", doubled=doubled, held=8), "So many were sent")
        says(check("drill N", doubled=doubled, held=4), "Count them")
        says(check("drill N", doubled=doubled, held=None), "held is one number")


class TestNumberLeftBehind:
    letter = "O"

    @pytest.fixture
    def number(self, case):
        return next(word for word in repr(case).replace(".", " ").split() if "MRN" in word)

    def clean(self, objects, number):
        cleaned = deepcopy(objects)
        for one in cleaned:
            one.remove_private_tags()
            for element in one.iterall():
                if element.VR != "SQ" and number in str(element.value):
                    element.value = str(element.value).replace(number, "")
        return cleaned

    def test_right(self, case, number):
        assert check("drill O", cleaned=self.clean(case.objects, number)).ok

    def test_nothing_was_cleaned(self, case, number):
        says(check("drill O", cleaned=case.objects), f"{number} is still there")

    def test_two_of_three(self, case, number):
        says(check("drill O", cleaned=self.clean(case.objects, number)[:2]), "three data sets")

    def test_too_much_is_gone(self, case, number):
        cleaned = self.clean(case.objects, number)
        del cleaned[0].PixelSpacing
        says(check("drill O", cleaned=cleaned), "More than the number is gone: 1 elements")

    @pytest.mark.parametrize("value", ["MRN", 5, [1, 2, 3], Dataset()], ids=str)
    def test_no_list_of_data_sets(self, value):
        says(check("drill O", cleaned=value), "a list of the three data sets")


# ---------------------------------------------------------------------- what holds for all drills


@pytest.fixture
def one_patient(monkeypatch):
    """All names get the same patient, which is computed once."""
    study = teaching_study(seed="0", progress=False)
    monkeypatch.setattr(drills, "teaching_study", lambda *, seed, progress: deepcopy(study))


def test_what_is_wrong_depends_on_the_name(one_patient):
    names = [f"learner {i}" for i in range(8)]
    attributes = {
        keyword
        for name in names
        for case in [drill("M", name=name)]
        for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")
        if case.result[keyword].value != case.ct[keyword].value
    }
    assert len(attributes) == 3


@pytest.mark.parametrize("place", ["private", "text", "description"])
def test_a_number_left_in_each_place_is_found(one_patient, monkeypatch, place):
    monkeypatch.setattr(image_drills.Leaked, "choose", lambda self, *options: place)
    case = drill("O")
    says(check("drill O", cleaned=case.objects), "is still there")
    (number,) = {word for word in repr(case).replace(".", " ").split() if "MRN" in word}
    cleaned = TestNumberLeftBehind().clean(case.objects, number)
    assert check("drill O", cleaned=cleaned).ok


def test_the_objects_of_the_learner_stay_as_they_are():
    study = teaching_study(seed="0", progress=False)
    for letter in ("K", "L", "M", "N", "O"):
        drill(letter)
    again = teaching_study(seed="0", progress=False)
    assert study.datasets == again.datasets
    assert np.array_equal(study.truth, again.truth)


def test_the_files_of_a_drill_are_removed_when_it_stops():
    case = drill("L")
    assert case.folder.exists()
    case.stop()
    assert not case.folder.exists()


def test_the_pacs_of_a_drill_stops_with_it():
    case = drill("N")
    case.pacs.start()
    drill("K")
    with pytest.raises(PacsUnreachable):
        store(case.node, case.jobs["A"][0])


def test_another_drill_stops_the_one_before():
    first = drill("K")
    drill("M")
    assert not first.folder.exists()
    says(check("drill K", hu=1), "not set up now")


def test_results_of_a_drill_are_results():
    case = drill("E")
    assert all(isinstance(results, Results) for results in case.results.values())
