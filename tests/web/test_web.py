"""The web page of a practice PACS: real requests over HTTP, and one look through a real browser."""

import http.client
import io
import re
import socket
import sys
import threading
import types
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from browser import chromium
from helpers import (
    CORONAL,
    ct_series,
    interop_required,
    lung_segmentation,
    require_program,
    truth_labels,
    write_series,
)
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from magician.client.store import store
from magician.ct.volume import read_series
from magician.errors import MagicianError
from magician.practice_pacs.pacs import PracticePacs
from magician.rendering.windowing import PRESETS, window
from magician.results.make import make_results
from magician.web import pages, site
from magician.web.page import HEIGHT, WebPage, serve
from magician.web.pictures import THUMBNAIL

HOSTILE = "<script>alert(1)</script>&\"'<img src=x onerror=alert(2)>"


class Answer:
    """What came back."""

    def __init__(self, response):
        self.status, self.headers, self.body = (
            response.status,
            dict(response.getheaders()),
            response.read(),
        )

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def pixels(self):
        return np.asarray(Image.open(io.BytesIO(self.body)))


def ask(page, path="", *, method="GET", host=None, body=None):
    """Send one request with this path as it is, and this Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    try:
        connection.putrequest(method, f"/{path}", skip_host=True)
        connection.putheader("Host", host if host is not None else f"127.0.0.1:{page.port}")
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def place(dataset):
    """Where the series of an object is shown."""
    return f"studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/"


def picture(dataset, kind="png"):
    return f"{place(dataset)}instances/{dataset.SOPInstanceUID}.{kind}"


def changed(dataset, **elements):
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture(scope="module")
def series():
    return ct_series()


@pytest.fixture(scope="module")
def volume(series, tmp_path_factory):
    return read_series(write_series(series, tmp_path_factory.mktemp("ct")))


@pytest.fixture(scope="module")
def results(volume, series):
    return make_results(volume, lung_segmentation(volume, truth_labels(series)), learner="Ada")


@pytest.fixture(scope="module")
def page(series, results):
    """The page of a PACS that holds a small CT, and a learner's results of it."""
    with PracticePacs(ae_title="SECOND") as pacs, serve(pacs) as page:
        pacs.add(series)
        pacs.add(results.all)
        yield page


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        yield pacs


@pytest.fixture
def own_page(pacs):
    """The page of a PACS that is still empty."""
    with serve(pacs) as page:
        yield page


# ------------------------------------------------------------------------------------------------- what it shows


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
    assert "Image 3 of 5" in ask(own_page, place(series[0])).text
    store(pacs.node, series[5:])
    assert "of 12" in ask(own_page, place(series[0])).text


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


# --------------------------------------------------------------------------------------------------- its pictures


@pytest.mark.parametrize(
    ("query", "preset"), [("lung", "lung"), ("soft-tissue", "soft tissue"), ("bone", "bone")]
)
def test_a_picture_of_a_ct_is_window_to_the_pixel(page, volume, query, preset):
    for i in (0, 6):
        answer = ask(page, f"{picture(volume.headers[i])}?window={query}")
        assert answer.headers["Content-Type"] == "image/png"
        np.testing.assert_array_equal(answer.pixels, window(volume.hu[i], *PRESETS[preset]))


def test_a_jpeg_differs_a_little(page, volume):
    answer = ask(page, f"{picture(volume.headers[6], 'jpg')}?window=lung")
    assert answer.headers["Content-Type"] == "image/jpeg"
    difference = answer.pixels.astype(float) - window(volume.hu[6], *PRESETS["lung"])
    assert np.abs(difference).mean() < 3


def test_the_overlay_keeps_its_colours(page, results):
    overlay = results.overlay[6]
    np.testing.assert_array_equal(ask(page, picture(overlay)).pixels, overlay.pixel_array)
    jpeg = ask(page, picture(overlay, "jpg"))
    assert np.abs(jpeg.pixels.astype(float) - overlay.pixel_array).mean() < 4
    # colours as fine as the greys: 4:4:4
    assert get_sampling(Image.open(io.BytesIO(jpeg.body))) == 0


def test_a_thumbnail_is_a_small_picture_from_the_middle(pacs, own_page, tmp_path):
    large = ct_series(slices=3, rows=200, columns=240)
    pacs.add(large)
    volume = read_series(write_series(large, tmp_path))
    expected = Image.fromarray(window(volume.hu[1], *PRESETS["soft tissue"]))
    expected.thumbnail((THUMBNAIL, THUMBNAIL))
    answer = ask(own_page, f"{place(large[0])}thumbnail.png")
    np.testing.assert_array_equal(answer.pixels, np.asarray(expected))
    assert max(answer.pixels.shape) == THUMBNAIL


def test_without_a_preset_the_window_is_that_of_the_image(pacs, own_page, small_series, volume):
    pacs.add([changed(small_series[6], WindowCenter=[-500, 40], WindowWidth=[900, 400])])
    np.testing.assert_array_equal(
        ask(own_page, picture(small_series[6])).pixels, window(volume.hu[6], -500, 900)
    )


@pytest.mark.parametrize("width", [0, -5, None])
def test_a_window_that_is_none_is_not_taken(pacs, own_page, small_series, volume, width):
    pacs.add([changed(small_series[6], WindowCenter=1, WindowWidth=width)])
    np.testing.assert_array_equal(
        ask(own_page, picture(small_series[6])).pixels, window(volume.hu[6], 40, 400)
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
    pixels = ask(own_page, f"{picture(image)}?window=lung").pixels
    stored = image.pixel_array.astype(int)
    # MONOCHROME1: low values are bright
    assert pixels[np.unravel_index(stored.argmin(), stored.shape)] == 255
    assert pixels[np.unravel_index(stored.argmax(), stored.shape)] == 0


def test_pixels_that_are_not_square_are_stretched(pacs, own_page):
    flat = ct_series(slices=1, rows=40, columns=40, spacing_mm=(3, 3, 1.5))
    pacs.add(flat)
    assert ask(own_page, picture(flat[0])).pixels.shape == (80, 40)


def test_images_are_in_order_of_their_positions(pacs, own_page, small_series):
    for i, image in enumerate(small_series):
        image.InstanceNumber = (7 * i) % 12 + 1
    pacs.add(small_series)
    text = ask(own_page, place(small_series[0])).text
    assert re.search('data-instances="([^"]*)"', text)[1].split() == [
        x.SOPInstanceUID for x in small_series
    ]


def test_images_in_several_directions_are_in_order_of_their_numbers(pacs, own_page, small_series):
    other = ct_series(orientation=CORONAL)[0]
    small_series[3].ImageOrientationPatient = other.ImageOrientationPatient
    pacs.add(small_series[::-1])
    text = ask(own_page, place(small_series[0])).text
    assert re.search('data-instances="([^"]*)"', text)[1].split() == [
        x.SOPInstanceUID for x in small_series
    ]


def edges(page, image, number=1):
    """The letters at the left, right and upper edge of one image of a series, as the page shows
    them first.
    """
    text = ask(page, f"{place(image)}?image={number}").text
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
        in ask(own_page, place(images[0])).text
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
    text = ask(page, f"{place(volume.headers[0])}?image=3&window=bone").text
    assert (
        f'<img src="instances/{volume.headers[2].SOPInstanceUID}.jpg?window=bone" alt="Image 3 of 12'
        in text
    )
    assert 'value="bone" checked' in text


@pytest.mark.parametrize(
    ("number", "shown"), [("0", 1), ("-3", 1), ("13", 12), ("999999999999", 12), ("x", 6)]
)
def test_an_image_number_that_is_none(page, series, number, shown):
    assert f"Image {shown} of 12" in ask(page, f"{place(series[0])}?image={number}").text


def test_a_window_that_does_not_exist(page, series):
    for path in (place(series[0]), picture(series[0])):
        answer = ask(page, f"{path}?window=%3Cb%3E")
        assert answer.status == 400
        assert "There is no such window; there is: lung, soft-tissue, bone." in answer.text


# ------------------------------------------------------------------------------------------- what it can't show


def why(answer):
    """The words on the tile that stands for a picture."""
    assert (answer.status, answer.headers["Content-Type"]) == (406, "image/svg+xml; charset=utf-8")
    return " ".join(re.findall("<text[^>]*>([^<]*)</text>", answer.text))


def test_a_segmentation_and_a_report_say_why_they_have_no_picture(page, results):
    assert why(ask(page, picture(results.seg))) == (
        "A mask, which has no picture of its own: see it in the overlay series."
    )
    assert (
        why(ask(page, f"{place(results.sr)}thumbnail.jpg"))
        == "No picture: this object holds text and numbers."
    )
    text = ask(page, place(results.seg)).text
    assert "SEG (Segmentation): A mask" in text
    assert "<img" not in text


def test_several_frames_in_one_object(pacs, own_page, small_series):
    pacs.add([changed(small_series[0], NumberOfFrames=2)])
    assert why(ask(own_page, picture(small_series[0]))) == (
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
    assert why(ask(own_page, picture(small_series[0]))) == DAMAGED
    assert ask(own_page, picture(small_series[1])).status == 200
    assert ask(own_page, place(small_series[0])).status == 200


def test_a_file_that_is_damaged_on_the_disk(pacs, own_page, small_series):
    pacs.add(small_series)
    Path(pacs.folder, f"{small_series[0].SOPInstanceUID}.dcm").write_bytes(b"")
    assert why(ask(own_page, picture(small_series[0]))) == DAMAGED
    assert "of 12" in ask(own_page, place(small_series[0])).text


def test_an_image_that_claims_to_be_huge(pacs, own_page, small_series):
    pacs.add([changed(small_series[0], Rows=65535, Columns=65535)])
    assert why(ask(own_page, picture(small_series[0]))) == TOO_LARGE


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
        "magician.web.pictures.decode", lambda image, *others: decoded.append(image)
    )
    image = small_series[0]
    image.PixelData = encapsulate([HUGE[syntax]])
    image.file_meta.TransferSyntaxUID = syntax
    pacs.add([image])
    assert why(ask(own_page, picture(image))) == TOO_LARGE
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
    answer = ask(own_page, f"{picture(image)}?window=lung")
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
        why(ask(own_page, picture(small_series[0])))
        == "A deflated object, which this page does not show."
    )


# ---------------------------------------------------------------------------------------------- what it refuses


def plant(image, keyword, value):
    """Set an element to what its value representation may not hold."""
    image[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE)


def test_what_came_over_dicom_is_escaped(pacs, own_page, small_series):
    for image in small_series:
        for keyword in ("PatientName", "StudyDescription", "SeriesDescription", "PatientID"):
            plant(image, keyword, HOSTILE)
        for keyword in ("AccessionNumber", "Modality", "StudyDate"):
            plant(image, keyword, '"><b>x')
    pacs.add(small_series)
    first = small_series[0]
    for path in ("", f"studies/{first.StudyInstanceUID}/", place(first)):
        text = ask(own_page, path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;&lt;img src=x" in text
        assert not re.search(r"<script>|<img src=x|<b>x", text)
        assert set(re.findall(r"<script[^>]*>", text)) <= {'<script src="../../../../page.js">'}


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd", "studies/../../../etc/passwd", "studies/..%2f..%2fetc%2fpasswd/", "page.css/../web.py",
        "web.py", "_web_page.css", "../page.css", "web.py", "_web_page.css", "site.py", "page.css%00", "studies", "studies/1.2.3", "studies/1.2.3/", "studies/x/",
        "studies/1..2/", "studies/" + "1" * 65 + "/", "studies/1.2%27%20OR%201=1/", "//evil.example/",
        "studies/*/", "studies//", "%ff%fe", "studies/1.2/series/1.2/instances/..%2f1.2.png",
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere(page, path):
    answer = ask(page, path)
    assert answer.status == 404
    assert "404 Not Found" in answer.text
    assert "Location" not in answer.headers


def test_what_is_no_uid_is_not_even_looked_for(pacs, own_page, monkeypatch):
    looked_for = []
    monkeypatch.setattr(pacs, "held", lambda *level, **keys: looked_for.append(keys))
    for uid in ("1..2", ".1", "1.", "1" * 65):
        assert ask(own_page, f"studies/{uid}/").status == 404
    assert looked_for == []


def test_a_series_of_one_study_is_not_found_in_another(page, series, results):
    for path in (
        f"studies/{results.seg.StudyInstanceUID}/series/{series[0].SeriesInstanceUID}/",
        f"studies/{results.seg.StudyInstanceUID}/series/{series[0].SeriesInstanceUID}/thumbnail.jpg",
        f"{place(results.seg)}instances/{series[0].SOPInstanceUID}.png",
    ):
        assert ask(page, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(page, series, method):
    for path in ("", place(series[0]), picture(series[0])):
        answer = ask(page, path, method=method, body=b"x")
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_head_has_the_headers_and_no_body(page, series):
    get, head = (ask(page, picture(series[0]), method=method) for method in ("GET", "HEAD"))
    assert head.status == 200
    assert head.body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[evil]",
                                  "192.0.2.1", "127.0.0.1:80@evil.example", "evil.example:127"])  # fmt: skip
def test_a_name_of_somebody_elses_that_points_here_is_refused(page, host):
    answer = ask(page, host=host)
    assert answer.status == 403
    assert "Phantom" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:80"])
def test_this_computer_by_its_own_names(page, host):
    assert ask(page, host=host).status == 200


def test_behind_the_proxy_of_a_hub_any_name_is_taken(page, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    assert ask(page, host="hub.example.org").status == 200


def test_beyond_loopback_addresses_and_the_name_of_the_computer_are_taken():
    own = socket.gethostname()
    for host in ("192.0.2.7:8000", "[2001:db8::1]", own, f"{own}.local:8000"):
        assert site._is_ours(host, "0.0.0.0")
    for host in ("evil.example", "", "192.0.2.7.evil.example"):
        assert not site._is_ours(host, "0.0.0.0")


def test_every_answer_has_the_strict_headers(page, series, results):
    paths = [
        "",
        place(series[0]),
        picture(series[0]),
        picture(results.sr),
        "page.css",
        "page.js",
        "nothing",
    ]
    answers = [ask(page, path) for path in paths] + [
        ask(page, method="POST"),
        ask(page, host="evil.example"),
    ]
    for answer in answers:
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert "http://localhost:*" in policy["frame-ancestors"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers


def test_a_mistake_of_ours_is_an_answer_that_tells_nothing(page, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("secret")

    monkeypatch.setattr(pages, "studies", broken)
    answer = ask(page)
    assert answer.status == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "could not answer /" in caplog.text


# ---------------------------------------------------------------------------------------- where it listens, how long


def test_it_listens_on_loopback_only(page):
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("which addresses are listened on is read from Linux's /proc")
    local = [
        line.split()[1]
        for line in listening.read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert [address for address in local if address.endswith(f":{page.port:04X}")] == [
        f"0100007F:{page.port:04X}"
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", ""])
def test_it_reaches_no_further_than_its_pacs(pacs, host):
    with pytest.raises(ValueError, match=r"could be seen from other computers.*Leave the host out"):
        serve(pacs, host=host)


def test_beyond_loopback_with_its_pacs(monkeypatch):
    """Not tried on a real address: the PACS only says that it is reached from other computers."""
    monkeypatch.setattr(PracticePacs, "beyond_loopback", True)
    with (
        PracticePacs() as pacs,
        pytest.raises(MagicianError, match="The host must be an address of this computer"),
    ):
        serve(pacs, host="192.0.2.1")
    with PracticePacs() as pacs, pytest.raises(ValueError, match="every address of this computer"):
        serve(pacs, host="")


def test_a_port_that_is_taken(pacs, own_page):
    with pytest.raises(
        MagicianError, match=r"can't listen on 127\.0\.0\.1:\d+ \(.*\)\. Stop what uses this port"
    ):
        serve(pacs, port=own_page.port)


def test_stopped_it_frees_its_port_and_its_threads(pacs, series):
    pacs.add(series)
    before = set(threading.enumerate())
    page = serve(pacs)
    port = page.port
    idle = socket.create_connection(("127.0.0.1", port))
    assert ask(page, picture(series[0])).status == 200
    assert set(threading.enumerate()) > before
    page.stop()
    page.stop()
    assert set(threading.enumerate()) <= before
    assert idle.recv(1) == b""  # the other side has closed it
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(MagicianError, match="This web page is stopped"):
        _ = page.url
    with WebPage(pacs, port=port) as again:
        assert ask(again, picture(series[0])).status == 200


def test_stopped_while_it_answers(pacs, series):
    pacs.add(series)
    page = serve(pacs)
    connections = [
        http.client.HTTPConnection("127.0.0.1", page.port, timeout=30) for _ in range(12)
    ]
    for connection, image in zip(connections, series, strict=True):
        connection.request("GET", f"/{picture(image)}")
    page.stop()
    for connection in connections:
        connection.close()
    assert not any("Web page of PRACTICE" in thread.name for thread in threading.enumerate())


def test_it_ends_with_its_pacs(series):
    with PracticePacs() as pacs:
        page = serve(pacs)
        port = page.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(MagicianError, match="This practice PACS is not started"):
        page.start()


def test_a_cell_that_is_run_twice_shows_the_same_page(pacs):
    page = WebPage.shared(pacs)
    assert WebPage.shared(pacs) is page
    port = page.port
    pacs.stop()
    pacs.start()
    assert WebPage.shared(pacs) is page
    assert ask(page).status == 200
    assert isinstance(port, int)


# -------------------------------------------------------------------------------------------------- in a notebook


def displayed(page, monkeypatch):
    """What a notebook gets to show."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    page._ipython_display_()
    ((data, raw),) = shown
    assert raw
    return data


def test_a_notebook_shows_a_frame_and_a_text_without_a_port(page, monkeypatch):
    data = displayed(page, monkeypatch)
    assert data["text/plain"] == "The web page of the practice PACS SECOND"
    assert data["text/html"].count(f'"http://127.0.0.1:{page.port}/"') == 2
    assert 'title="The web page of the practice PACS SECOND"' in data["text/html"]


def test_on_a_hub_the_frame_goes_through_its_proxy(page, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    html = displayed(page, monkeypatch)["text/html"]
    assert f'<iframe src="/user/ada/proxy/{page.port}/"' in html
    assert "jupyter-server-proxy" in html


def test_on_colab_its_own_proxy_makes_the_frame(pacs, monkeypatch):
    calls = []
    output = types.SimpleNamespace(
        serve_kernel_port_as_iframe=lambda port, height: calls.append((port, height))
    )
    colab = types.ModuleType("google.colab")
    colab.output = output
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    with serve(pacs) as page:
        page._ipython_display_()
        assert calls == [(page.port, HEIGHT)]
        answer = ask(page, host="abc-8080-colab.googleusercontent.com")
    assert answer.status == 200
    assert "https://*.googleusercontent.com" in answer.headers["Content-Security-Policy"]


def test_a_page_that_is_stopped_says_so_in_a_notebook(pacs, monkeypatch):
    with serve(pacs) as page:
        pass
    assert displayed(page, monkeypatch)["text/html"] == "<p>A web page that is stopped</p>"


# -------------------------------------------------------------------------------------------- in a real browser


@pytest.fixture(scope="module")
def tab():
    require_program("chromium")
    if not interop_required():
        pytest.importorskip(
            "playwright", reason="playwright, which drives the browser, is not installed"
        )
    with chromium() as tab:
        yield tab


def look(tab, page, path=""):
    """Open an address, and return what the browser complains of and asks for meanwhile."""
    complaints, asked = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.url + path)
    return complaints, asked


def wait_for(tab, shown):
    tab.wait_for_selector(f'#viewer[data-shown="{shown}"]', timeout=20_000)


def seen(tab):
    """The pixels of the picture on the page, grey."""
    width, height, data = tab.locator("#stage img").evaluate(
        """picture => {
            const {naturalWidth: width, naturalHeight: height} = picture;
            const copy = Object.assign(document.createElement("canvas"), {width, height}).getContext("2d");
            copy.drawImage(picture, 0, 0);
            return [width, height, [...copy.getImageData(0, 0, width, height).data]];
        }"""
    )
    return np.array(data, float).reshape(height, width, 4)[..., 0]


def test_keys_wheel_and_slider_move_through_the_images(tab, page, series, volume):
    complaints, asked = look(tab, page, place(series[0]))
    wait_for(tab, "6 ")
    for keys, shown in (
        ("ArrowUp", "7 "), ("ArrowRight ArrowRight", "9 "), ("ArrowDown ArrowLeft", "7 "), ("End", "12 "),
        ("ArrowUp", "12 "), ("Home", "1 "), ("PageUp", "11 "), ("PageDown", "1 "), ("1", "1 lung"), ("3", "1 bone"),
        ("2 ArrowUp", "2 soft-tissue"), ("0", "2 "), ("1", "2 lung"),
    ):  # fmt: skip
        for key in keys.split():
            tab.keyboard.press(key)
        wait_for(tab, shown)
    assert np.abs(seen(tab) - window(volume.hu[1], *PRESETS["lung"])).mean() < 3
    tab.locator("#stage").hover()
    tab.mouse.wheel(0, -100)
    wait_for(tab, "4 lung")
    assert np.abs(seen(tab) - window(volume.hu[3], *PRESETS["lung"])).mean() < 3
    tab.get_by_label("Image", exact=True).fill("10")
    wait_for(tab, "10 lung")
    assert tab.locator("#where").text_content() == "Image 10 of 12"
    assert tab.locator("#stage img").get_attribute("alt") == "Image 10 of 12, Small phantom"
    tab.get_by_label("bone").check()
    wait_for(tab, "10 bone")
    assert complaints == []
    assert {urljoin(url, "/") for url in asked} == {page.url}


def test_the_keyboard_alone_leads_from_the_studies_to_an_image(tab, page, series):
    look(tab, page)

    def press_tab_as_far_as(address):
        for _ in range(20):
            tab.keyboard.press("Tab")
            if (tab.evaluate("document.activeElement.href") or "").endswith(address):
                return tab.keyboard.press("Enter")
        raise AssertionError(f"{address} can't be reached")

    press_tab_as_far_as(f"/studies/{series[0].StudyInstanceUID}/")
    tab.wait_for_selector(".series")
    press_tab_as_far_as(f"/series/{series[0].SeriesInstanceUID}/")
    wait_for(tab, "6 ")
    tab.keyboard.press("Tab")
    tab.keyboard.press("End")
    wait_for(tab, "12 ")


def test_letters_are_those_of_the_image_that_is_seen(tab, pacs, own_page, small_series):
    small_series[3].ImageOrientationPatient = ct_series(orientation=CORONAL)[
        0
    ].ImageOrientationPatient
    pacs.add(small_series)
    look(tab, own_page, f"{place(small_series[0])}?image=3")
    for shown, upper in (("3 ", "A"), ("4 ", "H"), ("5 ", "A")):
        wait_for(tab, shown)
        assert tab.locator("#frame .upper").text_content() == upper
        tab.keyboard.press("ArrowUp")


def test_once_loaded_a_step_asks_for_nothing(tab, page, series):
    _, asked = look(tab, page, place(series[0]))
    tab.wait_for_selector("#viewer[data-complete]", timeout=20_000)
    assert sum("/instances/" in url for url in asked) >= 12
    before = len(asked)
    for key in ("Home", "ArrowUp", "End"):
        tab.keyboard.press(key)
    wait_for(tab, "12 ")
    assert len(asked) == before


def test_the_address_follows_and_shows_the_same_again(tab, page, series):
    look(tab, page, place(series[0]))
    wait_for(tab, "6 ")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("3")
    tab.wait_for_url("**/?image=7&window=bone")
    tab.get_by_role("link", name="Look again").click()
    wait_for(tab, "7 bone")


def test_a_damaged_image_in_a_series_is_a_tile(tab, pacs, own_page, small_series):
    del small_series[6].PixelData
    pacs.add(small_series)
    look(tab, own_page, f"{place(small_series[0])}?image=6")
    wait_for(tab, "6 ")
    tab.keyboard.press("ArrowUp")
    wait_for(tab, "7 ")
    assert tab.locator("#stage img").evaluate("picture => picture.naturalWidth") > 0
    tab.keyboard.press("ArrowUp")
    wait_for(tab, "8 ")


def test_a_hostile_name_does_nothing_in_a_browser(tab, pacs, own_page, small_series):
    for image in small_series:
        plant(image, "PatientName", HOSTILE)
        plant(image, "SeriesDescription", HOSTILE)
    pacs.add(small_series)
    alerts = []
    tab.once("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    complaints, _ = look(tab, own_page, place(small_series[0]))
    wait_for(tab, "6 ")
    assert tab.locator("h1").text_content() == HOSTILE
    assert tab.locator("#stage img").get_attribute("alt") == f"Image 6 of 12, {HOSTILE}"
    assert alerts == complaints == []


@contextmanager
def framed(page):
    """A page of another server on this computer, with ours in a frame; gives its port."""

    class Frame(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<iframe src="{page.url}"></iframe>'.encode())

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Frame) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_notebook_of_this_computer_may_frame_it_and_others_may_not(tab, page):
    with framed(page) as port:
        for name, allowed in (("127.0.0.1", True), ("localhost", True), ("evil.localhost", False)):
            tab.goto(f"http://{name}:{port}/")
            tab.wait_for_load_state("networkidle")
            assert ("SECOND: 2 studies" in tab.frames[1].content()) == allowed


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_no_page_is_wider_than_a_phone(tab, page, series, results, width):
    tab.set_viewport_size({"width": width, "height": 700})
    for path in (
        "",
        f"studies/{results.seg.StudyInstanceUID}/",
        place(results.overlay[0]),
        place(series[0]),
    ):
        look(tab, page, path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
