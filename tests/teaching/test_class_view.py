"""The class view: what it finds in the class PACS, also while many send, and what it survives."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import numpy as np
import pytest

from magician import get_study, make_results, store
from magician.ct.volume import CTVolume
from magician.practice_pacs.pacs import PracticePacs
from magician.segmentation.lungs import LungSegmentation
from magician.teaching import class_view
from magician.teaching.class_view import ClassView
from magician.teaching.classroom import LearnersStudy
from magician.teaching.phantom_headers import Patient, axial_image, localizer
from magician.web.page import WebPage

STUDIES = [LearnersStudy(f"Learner {number}") for number in range(10)]
COLUMNS = {name: number for number, name in enumerate(class_view.COLUMNS)}


@pytest.fixture(scope="module")
def truths():
    """A truth for each learner, by name: the same lungs, moved a little.

    The pixels of ten patients would take a minute.
    """
    slices, rows, columns = np.ogrid[:93, :512, :512]
    masks = {}
    for number, study in enumerate(STUDIES):
        truth = np.zeros((93, 512, 512), np.uint8)
        for label, centre in ((1, 170), (2, 340)):
            inside = ((slices - 45) / 30) ** 2 + ((rows - 250 - number) / 90) ** 2
            truth[inside + ((columns - centre) / 60) ** 2 < 1] = label
        masks[study.name] = truth
    return masks


@pytest.fixture
def class_pacs(truths):
    with PracticePacs(ae_title="CLASS") as pacs:
        view = ClassView(pacs, STUDIES)
        for study in STUDIES:
            view.keep_truth(study, truths[study.name])
        view.start()
        yield pacs, view


def images_of(study):
    """The images of a learner's study, all with the pixels of nobody: the headers matter here."""
    patient = Patient(study.name, study.accession_number, disease=True, kernel="soft")
    air = bytes(2 * 512 * 512)
    axial = [
        axial_image(patient, air, index, instance_number=93 - index, contrast=False)
        for index in reversed(range(93))
    ]
    return axial + [localizer(patient, np.zeros((8, 512), np.int16), n) for n in (1, 2)]


def volume_of(images):
    """The volume of these images, without reading their pixels."""
    headers = sorted(images[:93], key=lambda one: one.ImagePositionPatient[2])
    grid = class_view.grid_of_the_study()
    hu = np.full((93, 512, 512), -1000, np.float32)
    return CTVolume(hu, tuple(headers), (3.0, 0.78125, 0.78125), grid)


def results_of(study, labels, alias):
    mask = LungSegmentation(labels, (3.0, 0.78125, 0.78125), "m", "1", "0" * 64, "cpu", "fp32", 0.0)
    return make_results(volume_of(images_of(study)), mask, learner=alias, progress=False)


def eventually(view, found, seconds=60):
    """Wait until the view says something; a busy computer takes its time."""
    end = time.monotonic() + seconds
    while not found(view()) and time.monotonic() < end:
        time.sleep(0.2)
    return view()


def column(state, name):
    return [row[COLUMNS[name]].text for row in state.rows]


def test_nobody_has_done_anything_at_first(class_pacs):
    _, view = class_pacs
    state = view()
    assert column(state, "learner") == [study.name for study in STUDIES]
    assert {cell.text for row in state.rows for cell in row[1:]} == {"no"}
    assert state.remarks == ()


def test_ten_learners_at_once(class_pacs, truths, tmp_path):
    pacs, view = class_pacs
    for study in STUDIES:
        pacs.add(images_of(study))

    def work(number):
        study = STUDIES[number]
        uid = pacs.held("IMAGE", SOPInstanceUID=study.instance_uids()[0])[0]["StudyInstanceUID"]
        get_study(pacs.node, uid, tmp_path / str(number), progress=False)
        labels = truths[study.name]
        if number == 3:  # left and right exchanged
            labels = np.choose(labels, [0, 2, 1]).astype(np.uint8)
        results = results_of(study, labels, f"Alias {number}")
        kept = [results.seg] if number == 4 else [results.seg, results.sr]
        store(pacs.node, kept, progress=False)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(9)))  # the tenth does nothing
    state = eventually(
        view, lambda now: sum("right" in cell.text for row in now.rows for cell in row) == 9
    )
    assert column(state, "has retrieved") == ["95 of 95"] * 9 + ["no"]
    assert column(state, "SEG conformant") == ["yes"] * 9 + ["no"]
    assert column(state, "report") == ["yes"] * 4 + ["no"] + ["yes"] * 4 + ["no"]
    agreement = column(state, "agreement with the truth")
    assert agreement[0] == "right 1.000, left 1.000"
    assert agreement[3] == "right 0.000, left 0.000"
    assert [row[COLUMNS["has sent"]].why for row in state.rows[:9]] == [
        f"as Alias {number}" for number in range(9)
    ]
    exchanged = state.rows[3][COLUMNS["agreement with the truth"]]
    assert exchanged.why == "right and left are exchanged"
    states = [row[COLUMNS["agreement with the truth"]].state for row in state.rows]
    assert states == ["done"] * 3 + ["wrong"] + ["done"] * 5 + ["open"]


def test_part_of_a_study_is_said_to_be_part(class_pacs, tmp_path):
    pacs, view = class_pacs
    images = images_of(STUDIES[0])
    pacs.add(images)
    series = str(images[-1].SeriesInstanceUID)
    get_study(
        pacs.node,
        str(images[0].StudyInstanceUID),
        tmp_path,
        series_instance_uid=series,
        progress=False,
    )
    assert column(view(), "has retrieved")[0] == "2 of 95"


def test_results_of_a_stranger_are_named_below_the_table(class_pacs, truths):
    pacs, view = class_pacs
    results = results_of(LearnersStudy("nobody here"), truths[STUDIES[0].name], "Mallory")
    store(pacs.node, [results.seg], progress=False)
    assert view().remarks == ("Nobody here has the patient of these results: Mallory.",)


def test_a_seg_that_can_t_be_read_gives_a_word_in_its_row(class_pacs, truths):
    pacs, view = class_pacs
    results = results_of(STUDIES[0], truths[STUDIES[0].name], "Ada")
    seg = results.seg
    del seg.PerFrameFunctionalGroupsSequence
    store(pacs.node, [seg], progress=False)
    state = eventually(view, lambda now: "is examined" not in column(now, "SEG conformant"))
    row = state.rows[0]
    assert row[COLUMNS["SEG conformant"]].text == "no"
    assert row[COLUMNS["agreement with the truth"]].text == "can't be compared"
    assert row[COLUMNS["agreement with the truth"]].why


def test_the_page_of_the_class_escapes_what_strangers_wrote(class_pacs, truths):
    pacs, view = class_pacs
    results = results_of(STUDIES[0], truths[STUDIES[0].name], "<b>Ada</b>")
    store(pacs.node, [results.sr], progress=False)
    with WebPage(pacs, class_view=view) as page, urlopen(page.address(teacher=True)) as answer:
        html = answer.read().decode()
    assert "<b>Ada" not in html
    assert "as &lt;b&gt;Ada&lt;/b&gt;" in html
    assert len(re.findall("<tr>", html)) == 11


def test_a_seg_that_is_far_too_large_is_not_opened(class_pacs, truths, monkeypatch):
    pacs, view = class_pacs
    monkeypatch.setattr(class_view, "MOST_BYTES", 1000)
    store(pacs.node, [results_of(STUDIES[0], truths[STUDIES[0].name], "A").seg], progress=False)
    state = eventually(view, lambda now: "too large" in column(now, "SEG conformant"))
    assert state.rows[0][COLUMNS["agreement with the truth"]].text == "too large"


def test_results_without_an_alias_count_without_the_images_beside_them(class_pacs, truths):
    pacs, view = class_pacs
    pacs.add(images_of(STUDIES[0]))
    results = results_of(STUDIES[0], truths[STUDIES[0].name], "")
    store(pacs.node, [results.seg, results.sr], progress=False)
    sent = view().rows[0][COLUMNS["has sent"]]
    assert (sent.text, sent.why) == ("2 objects", "as the patient itself")


def test_truths_that_are_not_kept_are_computed_at_the_start(truths, monkeypatch):
    computed = []

    class Computed:
        truth = truths[STUDIES[0].name]

    monkeypatch.setattr(
        class_view, "teaching_study", lambda seed, progress: computed.append(seed) or Computed
    )
    with PracticePacs(ae_title="CLASS") as pacs:
        view = ClassView(pacs, STUDIES[:3])
        view.keep_truth(STUDIES[1], Computed.truth)
        view.start()
        end = time.monotonic() + 30
        while len(computed) < 2 and time.monotonic() < end:
            time.sleep(0.05)
    assert computed == ["Learner 0", "Learner 2"]


def test_the_thread_ends_with_its_pacs(truths):
    with PracticePacs(ae_title="CLASS") as pacs:
        view = ClassView(pacs, STUDIES[:1])
        view.keep_truth(STUDIES[0], truths[STUDIES[0].name])
        view.start()
        assert "class view" in {thread.name for thread in threading.enumerate()}
    assert "class view" not in {thread.name for thread in threading.enumerate()}


def test_the_grid_is_that_of_the_images():
    images = images_of(STUDIES[0])
    lowest = min(images[:93], key=lambda one: one.ImagePositionPatient[2])
    grid = class_view.grid_of_the_study()
    assert (grid @ [0, 0, 0, 1])[:3] == pytest.approx(lowest.ImagePositionPatient)
    assert (grid @ [92, 0, 0, 1])[2] == max(one.ImagePositionPatient[2] for one in images[:93])
