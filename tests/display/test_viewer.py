"""The viewer that draws in the page, as far as Python goes; test_viewer_browser.py has the page
itself.
"""

import base64
import importlib.util
import sys
import types
import zlib
from io import BytesIO

import numpy as np
import pytest
from bs4 import BeautifulSoup
from helpers import AXIAL, CORONAL, ct_series, write_series
from PIL import Image
from traitlets import TraitError

from magician.ct.volume import read_series
from magician.display.page_viewer import PageViewer
from magician.display.slider_viewer import SliderViewer
from magician.display.viewer import ct_viewer
from magician.rendering.windowing import window

SAGITTAL = (0, 1, 0, 0, 0, -1)


def answers(viewer, *requests):
    """What the viewer sends to a page that asks."""
    sent = []
    viewer.send = lambda content, buffers: sent.append((content, buffers))
    for request in requests:
        viewer._handle_custom_msg(request, [])
    return sent


def test_a_page_gets_the_slices_that_it_asks_for(volume, labels):
    viewer = ct_viewer(volume, labels)
    (table, (values,)), (content, (codes, deflated)) = answers(
        viewer, {"values": True}, {"first": 8, "count": 4}
    )
    assert (table, content) == ({"values": True}, {"first": 8, "count": 4})
    pixels = np.frombuffer(values, "<f8")[np.frombuffer(codes, "<u2")]
    np.testing.assert_array_equal(pixels.reshape(4, 64, 72), volume.hu[8:])
    np.testing.assert_array_equal(
        np.frombuffer(zlib.decompress(deflated), np.uint8).reshape(4, 64, 72), labels[8:]
    )


def test_without_a_mask_no_labels_are_sent(volume):
    viewer = ct_viewer(volume)
    ((_, (_, deflated)),) = answers(viewer, {"first": 0, "count": 1})
    assert deflated == b""
    assert not viewer.overlay


def test_the_volume_is_not_part_of_the_state_that_a_notebook_saves(volume, labels):
    state = ct_viewer(volume, labels).get_state()
    assert (
        sum(len(str(value)) for name, value in state.items() if name not in ("_esm", "_css"))
        < 20_000
    )


def test_slice_plane_and_position_agree(volume):
    viewer = ct_viewer(volume)
    viewer.slice = 3
    assert viewer.position == [2, 31, 35]
    viewer.plane = "coronal"
    assert viewer.slice == 32
    viewer.set_state({"plane": "sagittal", "position": [2, 31, 50]})  # as a page does
    assert viewer.slice == 51


IMPOSSIBLE = [
    ("slice", 0), ("slice", 13), ("position", [0, 64, 0]), ("width", 0.5), ("center", float("nan")),
    ("plane", "oblique"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_what_can_not_be_shown_is_refused(volume, name, value):
    viewer = ct_viewer(volume)
    before = getattr(viewer, name)
    with pytest.raises(TraitError):
        setattr(viewer, name, value)
    assert getattr(viewer, name) == before


def test_a_window_without_width_and_a_mask_of_another_shape_are_refused(volume, labels):
    with pytest.raises(ValueError, match="width of at least 1"):
        ct_viewer(volume, width=0)
    with pytest.raises(ValueError, match="The mask has the shape"):
        ct_viewer(volume, labels[1:])


def test_pages_that_run_nothing_get_a_picture_and_a_text(volume):
    viewer = ct_viewer(volume, center=-400, width=1200)
    data, _ = viewer._repr_mimebundle_()
    assert (
        data["text/plain"]
        == "Viewer: 12 slices; wheel for the slice, drag for the window, ? for all keys"
    )
    (image,) = BeautifulSoup(data["text/html"], "html.parser").select("img")
    assert image["alt"] == (
        "CT viewer: axial slice 6 of 12, window centre -400, width 1200 HU; "
        "letters mark the sides of the patient."
    )
    encoded = image["src"].removeprefix("data:image/png;base64,")
    picture = Image.open(BytesIO(base64.b64decode(encoded))).convert("L")
    assert picture.size == (512, 455)
    small = np.asarray(picture.resize((72, 64), Image.Resampling.BOX), int)
    inner = (slice(8, -8), slice(8, -8))  # inside of the letters
    assert np.abs(small - window(volume.hu[5], -400, 1200))[inner].mean() < 6


def test_its_text_says_nothing_that_changes(volume):
    viewer = ct_viewer(volume)
    before = repr(viewer)
    viewer.slice, viewer.plane, viewer.width = 2, "coronal", 700
    assert repr(viewer) == before


def test_the_words_of_that_picture_tell_of_the_lungs_and_of_what_was_set(volume, labels):
    viewer = ct_viewer(volume, labels)
    viewer.plane, viewer.width = "coronal", 350
    data, _ = viewer._repr_mimebundle_()
    (image,) = BeautifulSoup(data["text/html"], "html.parser").select("img")
    assert image["alt"] == (
        "CT viewer: coronal slice 32 of 64, window centre 40, width 350 HU, the lungs in blue; "
        "letters mark the sides of the patient."
    )


@pytest.mark.parametrize(
    ("orientation", "slice_number"), [(AXIAL, 4), (CORONAL, 32), (SAGITTAL, 32)], ids=str
)
def test_a_series_of_any_plane_opens_at_its_middle(tmp_path, orientation, slice_number):
    series = ct_series(slices=8, orientation=orientation)
    volume = read_series(write_series(series, tmp_path), series[0].SeriesInstanceUID)
    viewer = ct_viewer(volume)
    assert viewer.position == [(count - 1) // 2 for count in volume.hu.shape]
    assert (viewer.plane, viewer.slice) == ("axial", slice_number)


def test_a_coronal_series_is_shown_as_it_is(tmp_path):
    series = ct_series(orientation=CORONAL)
    viewer = ct_viewer(read_series(write_series(series, tmp_path), series[0].SeriesInstanceUID))
    plane = viewer.get_state()["_study"]["planes"]["coronal"]
    assert (tuple(plane["axes"]), tuple(plane["flips"])) == ((0, 1, 2), (False, False))


def no_anywidget(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


def vs_code(monkeypatch):
    shell = types.SimpleNamespace(user_ns={"__vsc_ipynb_file__": "a.ipynb"})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)


@pytest.mark.parametrize(
    ("situation", "word"),
    [(no_anywidget, "anywidget is not installed"), (colab, "Colab"), (vs_code, "VS Code")],
)
def test_where_it_can_not_run_the_viewer_with_sliders_says_why(
    volume, monkeypatch, situation, word
):
    situation(monkeypatch)
    viewer = ct_viewer(volume)
    assert isinstance(viewer, SliderViewer)
    assert word in viewer.children[0].value


def test_elsewhere_it_is_the_viewer_that_draws_in_the_page(volume):
    assert isinstance(ct_viewer(volume), PageViewer)
