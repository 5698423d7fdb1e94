"""What is shown: tables, pictures and the viewer. Pixels are compared with numpy, not with stored
images.
"""

import base64
from dataclasses import replace
from io import BytesIO

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from helpers import FLIPPED, PRONE, ct_series, write_series
from IPython.core.formatters import DisplayFormatter
from ipywidgets import HTML
from nbconvert import HTMLExporter
from PIL import Image
from pydicom import Dataset

from magician.ct.volume import read_series
from magician.display.figures import compare, contact_sheet, montage, window_viewer
from magician.display.slider_viewer import SliderViewer
from magician.display.viewer import ct_viewer
from magician.rendering.overlay import paint, pixel_kinds
from magician.rendering.windowing import window
from magician.tables import show_table


def tiles(picture):
    """The images of a figure, in order."""
    return [axes.images[0].get_array() for axes in picture.figure.axes if axes.images]


def letters(picture):
    return [text.get_text() for text in picture.figure.axes[0].texts]


def test_a_table_of_data_sets_is_text_and_html():
    study = Dataset()
    study.StudyDate, study.PatientName, study.NumberOfStudyRelatedInstances = (
        "20200102",
        "Phantom^Small",
        12,
    )
    table = show_table(
        [study], ["StudyDate", "PatientName", "NumberOfStudyRelatedInstances", "AccessionNumber"]
    )
    assert repr(table).splitlines() == [
        "StudyDate  PatientName    NumberOfStudyRelatedInstances  AccessionNumber",
        "---------  -------------  -----------------------------  ---------------",
        "20200102   Phantom^Small  12",
    ]
    assert '<td style="text-align:left">Phantom^Small</td>' in table._repr_html_()


def test_several_values_stand_in_one_cell():
    study = Dataset()
    study.ModalitiesInStudy = ["CT", "SEG"]
    assert show_table([study], ["ModalitiesInStudy"]).cells == [["CT, SEG"]]


def test_a_table_shows_other_headings_and_words_for_true_and_false():
    table = show_table([{"chosen": True}, {"chosen": False}], {"chosen": "taken?"})
    assert repr(table).split() == ["taken?", "------", "yes", "no"]


def test_a_name_that_holds_html_stays_text():
    table = show_table([{"name": "<script>alert(1)</script>"}], ["name"])
    assert "<script>" not in table._repr_html_()


def test_an_empty_table_shows_its_headings():
    assert repr(show_table([], ["a", "b"])).splitlines()[0] == "a  b"


def test_a_montage_shows_windowed_slices_from_feet_to_head(volume):
    picture = montage(volume, center=-600, width=1500)
    assert len(tiles(picture)) == 12
    for tile, hu in zip(tiles(picture), volume.hu, strict=True):
        np.testing.assert_array_equal(tile, window(hu, -600, 1500))
    assert [axes.get_title() for axes in picture.figure.axes][0] == "1   -166 mm"


def test_a_montage_of_many_slices_shows_the_first_the_last_and_some_between(volume):
    picture = montage(volume, tiles=4)
    assert [axes.get_title().split()[0] for axes in picture.figure.axes if axes.images] == [
        "1",
        "5",
        "8",
        "12",
    ]
    assert repr(picture).startswith("Montage: 4 of 12 axial slices from feet to head")


def test_a_montage_draws_the_lungs_in_blue(volume, labels):
    for tile, hu, plane in zip(tiles(montage(volume, labels)), volume.hu, labels, strict=True):
        inside = pixel_kinds(plane) != 2  # the outline is a line, drawn over the pixels
        np.testing.assert_array_equal(tile[inside], paint(hu, plane, 40, 400)[inside])
        lung = tile[plane > 0].astype(int)
        assert (lung[:, 2] > lung[:, 0]).all()


def test_the_letters_say_which_side_is_which(tmp_path):
    cases = [("axial", None, "RLAP"), ("prone", PRONE, "LRPA"), ("flipped", FLIPPED, "RLPA")]
    for name, orientation, expected in cases:
        series = ct_series(orientation=orientation) if orientation else ct_series()
        seen = letters(montage(read_series(write_series(series, tmp_path / name))))
        assert "".join(seen[:4]) == expected


def test_a_picture_is_a_jpeg_of_modest_size(volume):
    data = montage(volume).encode()
    image = Image.open(BytesIO(data))
    assert image.format == "JPEG"
    assert image.size[0] == 900
    assert len(data) < 200_000


def test_a_picture_carries_its_words_where_it_is_shown(volume, labels):
    picture = compare(volume, {'a "quoted" <name>': labels}, 5)
    data, _ = DisplayFormatter().format(picture)
    assert set(data) == {"text/html", "text/plain"}
    assert data["text/plain"] == 'Slice 6 of 12 with, in blue, a "quoted" <name>.'
    (image,) = BeautifulSoup(data["text/html"], "html.parser").select("img")
    assert image["alt"] == picture.alt == data["text/plain"]  # what a screen reader reads out
    kind, _, encoded = image["src"].partition(";base64,")
    assert kind == "data:image/jpeg"
    assert base64.b64decode(encoded) == picture.encode()


def test_masks_are_compared_side_by_side(volume, labels):
    picture = compare(volume, {"truth": labels, "right only": labels == 1}, 5)
    first, second = tiles(picture)
    for shown, mask in [(first, labels[5]), (second, (labels[5] == 1).astype(np.uint8))]:
        inside = pixel_kinds(mask) != 2
        np.testing.assert_array_equal(shown[inside], paint(volume.hu[5], mask)[inside])
    assert repr(picture) == "Slice 6 of 12 with, in blue, truth; right only."


def test_a_contact_sheet_shows_pixels_as_they_are():
    series = ct_series(slices=3)
    shown = tiles(contact_sheet(series))
    for tile, ds in zip(shown, series, strict=True):
        np.testing.assert_array_equal(tile, ds.pixel_array)


def test_a_mask_of_another_shape_is_refused(volume, labels):
    with pytest.raises(ValueError, match=r"shape \(11, 64, 72\), the volume \(12, 64, 72\)"):
        montage(volume, labels[1:])


def pixels(viewer):
    return np.asarray(Image.open(BytesIO(viewer.image.value)), dtype=int)


def test_the_viewer_shows_the_slice_and_window_of_its_sliders(volume):
    viewer = window_viewer(volume, center=40, width=400)
    viewer.slice.value, viewer.center.value, viewer.width.value = 4, -600, 1500
    shown, expected = pixels(viewer), window(volume.hu[3], -600, 1500)
    assert np.abs(shown - expected).mean() < 4  # JPEG is lossy
    assert np.abs(shown - window(volume.hu[9], -600, 1500)).mean() > 8


def test_the_viewer_counts_slices_from_one_as_a_montage_does(volume):
    slider = window_viewer(volume).slice
    assert (slider.min, slider.max) == (1, 12)


def test_each_slider_of_the_viewer_redraws(volume):
    viewer = window_viewer(volume)
    for slider, value in [(viewer.slice, 2), (viewer.center, -500), (viewer.width, 900)]:
        before = viewer.image.value
        slider.value = value
        assert viewer.image.value != before


def test_the_viewer_takes_the_blue_away_and_brings_it_back(volume, labels):
    viewer = window_viewer(volume, labels)
    coloured = pixels(viewer)
    viewer.overlay.value = False
    grey = pixels(viewer)
    assert coloured.ndim == 3
    assert grey.ndim == 2
    viewer.overlay.value = True
    np.testing.assert_array_equal(pixels(viewer), coloured)


def test_the_viewer_with_a_mask_offers_the_overlay(volume, labels):
    viewer = window_viewer(volume, labels)
    assert viewer.overlay in viewer.children


def test_the_viewer_without_a_mask_offers_no_overlay(volume):
    viewer = window_viewer(volume)
    assert viewer.overlay not in viewer.children
    viewer.overlay.value = True  # even so nothing breaks
    assert pixels(viewer).ndim == 2


def test_a_preset_sets_centre_and_width(volume):
    viewer = window_viewer(volume)
    viewer.presets["bone"].click()
    assert (viewer.center.value, viewer.width.value) == (400, 1800)
    assert np.abs(pixels(viewer) - window(volume.hu[5], 400, 1800)).mean() < 4


def test_the_blue_of_the_viewer_can_be_made_fainter(volume, labels):
    viewer = window_viewer(volume, labels)
    viewer.opacity.value = 0.5
    assert np.abs(pixels(viewer) - paint(volume.hu[5], labels[5], opacity=0.5)).mean() < 6
    viewer.opacity.value = 0
    grey = np.repeat(window(volume.hu[5], 40, 400)[..., None], 3, axis=-1)
    assert np.abs(pixels(viewer) - grey).mean() < 4


def test_the_other_planes_are_shown_head_up_and_in_true_proportions(volume):
    # from feet to head
    brighter = np.linspace(0, 600, len(volume.hu), dtype=np.float32)[:, None, None]
    volume = replace(volume, hu=volume.hu + brighter)
    viewer = window_viewer(volume, center=-100, width=1800)
    for plane, number, expected in [
        ("coronal", 32, volume.hu[::-1, 31]),
        ("sagittal", 23, volume.hu[::-1, :, 22]),
    ]:
        viewer.plane.value, viewer.slice.value = plane, number
        shown = pixels(viewer)
        assert shown.shape == (24, expected.shape[1])  # 3 mm between slices, 1.5 mm between pixels
        expected = window(expected, -100, 1800)
        difference, upside_down = (
            np.abs(shown[1::2] - one).mean() for one in (expected, expected[::-1])
        )
        assert difference < 8
        assert upside_down > 3 * difference


def test_all_planes_go_through_the_same_point(volume):
    viewer = window_viewer(volume)
    viewer.point.value = True
    viewer.slice.value, viewer.down.value, viewer.across.value = 4, 31, 21  # counted from 1
    assert viewer.value.value.startswith(
        f"<b>{volume.hu[3, 30, 20]:.0f} HU</b> at R 23, A 2, F 158 mm"
    )
    viewer.plane.value = "coronal"
    assert (viewer.slice.value, viewer.down.value, viewer.across.value) == (31, 9, 21)
    assert viewer.value.value.startswith(f"<b>{volume.hu[3, 30, 20]:.0f} HU</b>")


def test_a_cross_marks_the_point(volume):
    viewer = window_viewer(volume, center=3000, width=10)  # all black
    viewer.point.value = True
    viewer.down.value, viewer.across.value = 41, 31
    rows, columns = np.nonzero(pixels(viewer) > 128)
    assert (rows.mean().round(), columns.mean().round()) == (40, 30)


def test_a_window_that_moves_is_drawn_once_per_change(volume):
    viewer = window_viewer(volume)
    drawn = []
    viewer.image.observe(drawn.append, names="value")
    viewer.plane.value = "sagittal"
    assert len(drawn) == 1


def test_the_viewer_says_why_it_is_the_simple_one(volume):
    viewer = SliderViewer(volume, None, 40, 400, note="Because.")
    assert viewer.children[0].value == "Because."
    assert not any(isinstance(child, HTML) for child in window_viewer(volume).children)


def test_the_viewers_text_says_nothing_that_changes(volume):
    text = "Viewer: 12 slices; sliders for slice, window centre and window width"
    viewer = window_viewer(volume)
    viewer.slice.value = 7
    assert repr(viewer) == text


def test_an_exported_page_carries_the_words_of_each_picture(volume, labels):
    picture, viewer = montage(volume, labels), ct_viewer(volume, labels)
    notebook = nbformat.v4.new_notebook()
    for data, _ in (DisplayFormatter().format(picture), viewer._repr_mimebundle_()):
        output = nbformat.v4.new_output("display_data", data)
        notebook.cells.append(nbformat.v4.new_code_cell(outputs=[output]))
    page, _ = HTMLExporter().from_notebook_node(notebook)
    words = [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
    assert words == [picture.alt, viewer._still_alt]
