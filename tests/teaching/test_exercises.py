"""The exercises of lessons 01 and 03: the right answer passes, each wrong one gets a sentence."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from helpers import ct_series, lung_segmentation, write_series

from magician.client.store import store
from magician.ct.volume import read_series
from magician.practice_pacs.pacs import PracticePacs
from magician.results.careless import careless_overlay
from magician.results.make import make_results, save
from magician.teaching.exercises import all_exercises, check, my_progress
from magician.teaching.phantom import teaching_study


def says(answer, words):
    assert not answer.ok
    assert words in answer.sentence, answer


@pytest.fixture(scope="module")
def patient():
    return teaching_study(seed="Ada", progress=False)


@pytest.fixture(scope="module")
def chest(patient, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chest")
    save(patient.datasets, folder, progress=False)
    return read_series(folder, progress=False)


@pytest.fixture(scope="module")
def own_patients_mask(patient):
    """The truth, but for a block in slices 21 to 30, worst in slice 25."""
    labels = patient.truth.copy()
    for index in range(20, 30):
        size = 60 - 9 * abs(24 - index)
        labels[index, 300 : 300 + size, 300 : 300 + size] ^= 1
    return labels


# ------------------------------------------------------------------- whatever a learner hands in


def test_unknown_exercise_lists_those_that_there_are():
    says(check("window"), "'windows'")


@pytest.mark.parametrize("exercise", [None, 3, ["windows"], "x" * 10_000])
def test_name_that_is_none_is_answered_shortly(exercise):
    answer = check(exercise)
    says(answer, "No exercise has this name")
    assert len(repr(answer)) < 2000


def test_missing_evidence_is_answered_with_the_form_of_the_call():
    says(
        check("windows", liver=60, air=-1000, consolidation=30),
        "Write check('windows', volume, patient, liver=..., air=..., consolidation=...).",
    )


class Hostile:
    """Fails in whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError("no " * 10_000)

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __repr__

    def __array__(self, *arguments, **keywords):
        raise MemoryError("no memory")

    def __float__(self):
        raise Unspeakable


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


ANYTHING = [None, 1, "text", b"bytes", float("nan"), [], {}, np.zeros((2, 2)), object(), Hostile()]
CALLS = {
    "windows": (2, ("liver", "air", "consolidation")),
    "wrong slice": (3, ("slice",)),
    "sent": (2, ()),
    "repair": (1, ()),
}


@pytest.mark.parametrize("exercise", CALLS)
@pytest.mark.parametrize("thing", ANYTHING, ids=lambda thing: type(thing).__name__)
def test_evidence_of_any_kind_is_answered_with_a_sentence(exercise, thing):
    evidence, answers = CALLS[exercise]
    answer = check(exercise, *[thing] * evidence, **dict.fromkeys(answers, 1))
    assert not answer.ok
    assert 10 < len(answer.sentence) < 600


@pytest.mark.parametrize("value", [*ANYTHING[2:-1], 1j, True, "60", 10**400], ids=repr)
def test_answer_of_any_kind_is_answered_with_a_sentence(chest, patient, value):
    says(check("windows", chest, patient, liver=value, air=-1000, consolidation=30), "liver")


def test_answer_that_fails_in_any_way(chest, patient):
    says(check("wrong slice", chest, patient.truth, patient, slice=Hostile()), "Unspeakable")


def test_unanswered_check_says_what_to_fill_in_and_does_not_count_as_tried(chest, patient):
    answer = check("windows", chest, patient, liver=None, air=None, consolidation=None)
    assert repr(answer) == "windows: not yet. Fill in liver, air and consolidation."
    assert "windows" in repr(my_progress())
    assert "not yet" not in repr(my_progress())


def test_answer_in_a_page_is_in_words_and_escaped():
    page = check("<b>")._repr_html_()
    assert "not yet." in page
    assert "&lt;b&gt;" in page


@pytest.mark.parametrize("name", all_exercises())
def test_an_exercise_belongs_to_a_lesson_and_has_a_title(name):
    assert all_exercises()[name].lesson in (1, 2, 3)
    assert all_exercises()[name].title


# ---------------------------------------------------------------------------------------- windows


@pytest.fixture
def hu(chest, patient):
    """What a learner reads: single points in liver, in air and in the consolidation."""
    dense = np.argwhere((patient.truth > 0) & (chest.hu > 20) & (chest.hu < 60))
    return {
        "liver": float(chest.hu[14, 248, 168]),
        "air": float(chest.hu[40, 5, 5]),
        "consolidation": float(chest.hu[tuple(dense[len(dense) // 2])]),
    }


def test_values_that_were_read_are_right(chest, patient, hu):
    assert check("windows", chest, patient, **hu).ok


@pytest.mark.parametrize("seed", ["0", "Chen"])
def test_values_of_other_patients_are_right_for_them(seed, tmp_path):
    patient = teaching_study(seed=seed, progress=False)
    save(patient.datasets[:93], tmp_path, progress=False)
    volume = read_series(tmp_path, progress=False)
    liver = float(np.median(volume.hu[14, 244:252, 164:172]))
    assert check("windows", volume, patient, liver=liver, air=-1000, consolidation=35).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"liver": 40 + 1024, "air": 24, "consolidation": 35 + 1024}, "stored values"),
        ({"liver": 140, "air": 0, "consolidation": 120}, "grey levels"),
        ({"air": -600}, "a centre or a width of a window"),
        ({"liver": 400}, "a centre or a width of a window"),
        ({"liver": -1000, "air": 55}, "liver and air are exchanged"),
        ({"air": 35, "consolidation": -1000}, "air and consolidation are exchanged"),
        ({"consolidation": -850}, "is lung"),
        ({"air": -870}, "is lung"),
        ({"liver": -105}, "liver: -105 HU is too low"),
        ({"liver": 600}, "liver: 600 HU is too high"),
        ({"consolidation": None}, "consolidation is one number"),
    ],
)
def test_typical_wrong_values_are_named(chest, patient, hu, wrong, words):
    says(check("windows", chest, patient, **{**hu, **wrong}), words)


def test_ct_of_another_learner(chest, hu):
    other = teaching_study(seed="Chen", progress=False)
    says(check("windows", chest, other, **hu), "your teaching study is of PHANTOM-")


def test_ct_of_another_lesson(patient, hu, tmp_path):
    small = read_series(write_series(ct_series(), tmp_path))
    says(check("windows", small, patient, **hu), "The CT is of the patient")


def test_copy_of_the_ct_under_an_alias(chest, patient, hu):
    header = deepcopy(chest.headers[0])
    header.PatientID = "LEARNER-1"
    says(check("windows", replace(chest, headers=(header,)), patient, **hu), "copy under an alias")


# ------------------------------------------------------------------------------------- wrong slice


@pytest.mark.parametrize("number", [25, 24, 25.0, np.int64(26)])
def test_slice_with_a_large_error_is_right(chest, patient, own_patients_mask, number):
    assert check("wrong slice", chest, own_patients_mask, patient, slice=number).ok


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (22, "did you count from 0?"),
        (93 - 24, "from the head"),
        (60, "right in every voxel"),
        (21, "little is wrong"),
        (0, "There are 93 slices"),
        (94, "There are 93 slices"),
        (-1, "There are 93 slices"),
        (24.5, "a whole number"),
        ("25", "without quotes"),
    ],
)
def test_typical_wrong_slices_are_named(chest, patient, own_patients_mask, number, words):
    says(check("wrong slice", chest, own_patients_mask, patient, slice=number), words)


def test_mask_of_the_network_and_not_only_its_labels(chest, patient, own_patients_mask):
    mask = lung_segmentation(chest, own_patients_mask)
    assert check("wrong slice", chest, mask, patient, slice=25).ok


def test_without_the_patient_there_is_no_truth(chest, own_patients_mask):
    says(check("wrong slice", chest, own_patients_mask, slice=25), "patient is missing")


def test_mask_that_lies_elsewhere(chest, patient):
    says(
        check("wrong slice", chest, np.roll(patient.truth, 250, 1), patient, slice=25),
        "does not lie on the lungs",
    )


def test_mask_of_another_shape(chest, patient):
    says(check("wrong slice", chest, patient.truth[:50], patient, slice=25), "shape")


# -------------------------------------------------------------------------------------------- sent


@pytest.fixture
def pacs():
    with PracticePacs(ae_title="SECOND") as pacs:
        yield pacs


@pytest.fixture(scope="module")
def results_of(volume, labels):
    def make(alias):
        return make_results(
            volume, lung_segmentation(volume, labels), learner=alias, include_ct=True
        )

    return make


@pytest.mark.parametrize("given", ["node", "pacs"])
def test_results_that_are_all_held(pacs, results_of, given):
    results = results_of("Ada")
    store(pacs.node, results.all)
    assert check("sent", pacs.node if given == "node" else pacs, results).ok


def test_nothing_is_sent_yet(pacs, results_of):
    says(check("sent", pacs.node, results_of("Ada")), "SECOND holds nothing of 'Ada'")


def test_only_the_ct_is_sent(pacs, results_of):
    results = results_of("Ada")
    store(pacs.node, results.ct)
    says(check("sent", pacs.node, results), "the CT alone")


def test_the_report_is_not_sent(pacs, results_of):
    results = results_of("Ada")
    store(pacs.node, [*results.overlay, results.seg, *results.ct])
    says(check("sent", pacs.node, results), "25 of 26 objects. Missing: SR.")


def test_another_learner_has_sent(pacs, results_of):
    store(pacs.node, results_of("Chen").all)
    says(check("sent", pacs.node, results_of("Ada")), "results of another name")


def test_results_of_an_earlier_alias_are_sent(pacs, results_of):
    store(pacs.node, results_of("Ada").all)
    says(check("sent", pacs.node, results_of("Lise")), "none of 'Lise'")


def test_no_alias_is_chosen(pacs, results_of):
    results = results_of("Putyournamehere")
    store(pacs.node, results.all)
    says(check("sent", pacs.node, results), "Write your alias")


def test_pacs_that_was_stopped(results_of):
    with PracticePacs() as pacs:
        node = pacs.node
    says(check("sent", node, results_of("Ada")), str(node.port))


# ------------------------------------------------------------------------------------------ repair


@pytest.fixture
def repaired(volume, labels):
    images = careless_overlay(volume, lung_segmentation(volume, labels))
    for image in images:
        image.file_meta.FileMetaInformationVersion = b"\0\1"
        image.file_meta.FileMetaInformationGroupLength = 0
        image.PlanarConfiguration = 0
        image.PixelRepresentation = 0
        image.ConversionType = "WSD"
        image.PatientOrientation = ["L", "P"]
        image.BodyPartExamined = "CHEST"
        image.StudyTime = "030400"
    return images


def test_repaired_images_are_right(repaired):
    assert check("repair", repaired).ok


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ConversionType", "XYZ", "ConversionType"),
        ("ConversionType", "DF", "nobody has scanned"),
        ("PatientOrientation", ["X", "Y"], "PatientOrientation"),
        ("PatientOrientation", ["R", "P"], "rows and columns"),
        ("PatientOrientation", "", "PatientOrientation"),
        ("BodyPartExamined", "BODYPART", "BodyPartExamined"),
        ("BodyPartExamined", "HEAD", "not what is shown"),
        ("PixelRepresentation", 7, "PixelRepresentation"),
        ("PixelRepresentation", 1, "PixelRepresentation"),
        ("PlanarConfiguration", 1, "red, green and blue alternate"),
        ("PlanarConfiguration", 5, "PlanarConfiguration"),
        ("Laterality", "L", "both lungs are shown"),
        ("Laterality", "X", "Laterality"),
    ],
)
def test_value_that_is_there_and_wrong(repaired, keyword, value, words):
    for image in repaired:
        setattr(image, keyword, value)
    says(check("repair", repaired), words)


def test_one_image_is_left_as_it_was(repaired):
    del repaired[1].ConversionType
    says(check("repair", repaired), "1 complaint is left, such as: ConversionType is missing")


def test_only_one_image_is_repaired(repaired):
    says(check("repair", repaired[0]), "three images")


def test_results_that_were_never_careless(results_of):
    says(check("repair", results_of("Ada").overlay), "not the careless images")
