"""The pages: studies, series and images, and what they say of each."""

import re
from urllib.parse import urljoin

import pytest
from helpers import CORONAL, ct_series
from web_requests import HOSTILE, ask, picture_path, plant, series_path

from magician.client.store import store


def test_the_first_page_lists_the_studies(page, series, results):
    answer = ask(page)
    assert answer.status == 200
    for study, words in (
        (series[0], ["Phantom^Small", "SMALL-0", "A-1"]),
        (results.seg, ["Ada^", "OT, SEG, SR"]),
    ):
        assert f'href="studies/{study.StudyInstanceUID}/"' in answer.text
        assert all(word in answer.text for word in words)
    assert "SECOND: 2 studies" in answer.text


def test_a_study_lists_its_series_with_thumbnails(page, results):
    answer = ask(page, f"studies/{results.seg.StudyInstanceUID}/")
    for dataset in (results.overlay[0], results.seg, results.sr):
        assert f'href="series/{dataset.SeriesInstanceUID}/"' in answer.text
        assert dataset.SeriesDescription in answer.text
    assert re.findall(r'<img src="([^"]*)"', answer.text) == [
        f"series/{results.overlay[0].SeriesInstanceUID}/thumbnail.jpg"
    ]
    assert "12 objects" in answer.text


def test_an_empty_pacs_says_so_and_shows_what_arrives(pacs, own_page, series):
    assert "It holds nothing yet" in ask(own_page).text
    store(pacs.node, series[:5])
    assert "1 study" in ask(own_page).text
    assert "Image 3 of 5" in ask(own_page, series_path(series[0])).text
    store(pacs.node, series[5:])
    assert "of 12" in ask(own_page, series_path(series[0])).text


def test_every_link_of_every_page_leads_somewhere_below_it(page):
    """All are relative, and work below a path of a proxy's, as behind jupyter-server-proxy."""
    below, seen, waiting = "http://hub/user/ada/proxy/1234/", set(), [""]
    while waiting:
        path = waiting.pop()
        answer = ask(page, path)
        assert answer.status == 200, path
        seen.add(path)
        if answer.headers["Content-Type"].startswith("text/html"):
            for link in re.findall(r'(?:href|src)="(?!data:,")([^"]*)"', answer.text):
                assert not link.startswith(("/", "http"))
                target = urljoin(below + path, link)
                assert target.startswith(below)
                waiting += {target.removeprefix(below)} - seen - set(waiting)
    assert {"page.css", "page.js"} < seen
    assert sum(path.endswith("thumbnail.jpg") for path in seen) == 2


def test_images_are_in_order_of_their_positions(pacs, own_page, small_series):
    for i, image in enumerate(small_series):
        image.InstanceNumber = (7 * i) % 12 + 1
    pacs.add(small_series)
    text = ask(own_page, series_path(small_series[0])).text
    assert re.search('data-instances="([^"]*)"', text)[1].split() == [
        x.SOPInstanceUID for x in small_series
    ]


def test_images_in_several_directions_are_in_order_of_their_numbers(pacs, own_page, small_series):
    other = ct_series(orientation=CORONAL)[0]
    small_series[3].ImageOrientationPatient = other.ImageOrientationPatient
    pacs.add(small_series[::-1])
    text = ask(own_page, series_path(small_series[0])).text
    assert re.search('data-instances="([^"]*)"', text)[1].split() == [
        x.SOPInstanceUID for x in small_series
    ]


def edges(page, image, number=1):
    """The letters at the left, right and upper edge of one image of a series, as the page shows
    them first.
    """
    text = ask(page, f"{series_path(image)}?image={number}").text
    return re.findall('<abbr class="[a-z]+" title="(left|right|upper) edge">([^<]*)</abbr>', text)


@pytest.mark.parametrize(
    ("orientation", "letters"), [((1, 0, 0, 0, 1, 0), "RLA"), ((-1, 0, 0, 0, -1, 0), "LRP")]
)
def test_letters_tell_the_sides_of_the_patient(pacs, own_page, orientation, letters):
    images = ct_series(orientation=orientation)
    pacs.add(images)
    assert edges(own_page, images[0]) == list(zip(("left", "right", "upper"), letters, strict=True))
    assert (
        f'data-letters="{" ".join([",".join(letters)] * 12)}"'
        in ask(own_page, series_path(images[0])).text
    )


def test_letters_of_a_picture_without_positions_are_those_that_it_names(
    pacs, own_page, small_series
):
    image = small_series[0]
    del image.ImageOrientationPatient, image.ImagePositionPatient
    image.PatientOrientation = ["LH", "P"]
    pacs.add([image])
    assert edges(own_page, image) == [("left", "RF"), ("right", "LH"), ("upper", "A")]


@pytest.mark.parametrize("named", [None, "LP", ["X", "P"], ["L"], ["L", "P", "H"], ["", ""]])
def test_no_letters_where_the_sides_are_not_known(pacs, own_page, small_series, named):
    image = small_series[0]
    del image.ImageOrientationPatient
    if named is not None:
        image.PatientOrientation = named
    pacs.add([image])
    assert edges(own_page, image) == [("left", ""), ("right", ""), ("upper", "")]


def test_each_image_has_letters_of_its_own(pacs, own_page, small_series):
    coronal = ct_series(orientation=CORONAL)[0]
    small_series[3].ImageOrientationPatient = coronal.ImageOrientationPatient
    pacs.add(small_series)
    assert dict(edges(own_page, small_series[0], 3))["upper"] == "A"
    assert dict(edges(own_page, small_series[0], 4))["upper"] == "H"


def test_without_javascript_the_address_chooses_image_and_window(page, volume):
    text = ask(page, f"{series_path(volume.headers[0])}?image=3&window=bone").text
    uid = volume.headers[2].SOPInstanceUID
    assert f'<img src="instances/{uid}.jpg?window=bone" alt="Image 3 of 12' in text
    assert 'value="bone" checked' in text


@pytest.mark.parametrize(
    ("number", "shown"), [("0", 1), ("-3", 1), ("13", 12), ("999999999999", 12), ("x", 6)]
)
def test_an_image_number_that_is_none(page, series, number, shown):
    assert f"Image {shown} of 12" in ask(page, f"{series_path(series[0])}?image={number}").text


def test_a_window_that_does_not_exist(page, series):
    for path in (series_path(series[0]), picture_path(series[0])):
        answer = ask(page, f"{path}?window=%3Cb%3E")
        assert answer.status == 400
        assert "There is no such window; there is: lung, soft-tissue, bone." in answer.text


def test_what_came_over_dicom_is_escaped(pacs, own_page, small_series):
    for image in small_series:
        for keyword in ("PatientName", "StudyDescription", "SeriesDescription", "PatientID"):
            plant(image, keyword, HOSTILE)
        for keyword in ("AccessionNumber", "Modality", "StudyDate"):
            plant(image, keyword, '"><b>x')
    pacs.add(small_series)
    first = small_series[0]
    for path in ("", f"studies/{first.StudyInstanceUID}/", series_path(first)):
        text = ask(own_page, path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;&lt;img src=x" in text
        assert not re.search(r"<script>|<img src=x|<b>x", text)
        scripts = re.findall(r'<script src="(?:\.\./)*(\w+\.js)"[^<>]*></script>', text)
        assert text.count("<script") == len(scripts)
        assert set(scripts) <= {"page.js", "watch.js"}
