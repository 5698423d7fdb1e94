"""The figures of CT, compared with stored ones, and checks that the comparison would catch what matters.

Figures that were changed on purpose are stored anew by
``python -m pytest tests/test_figures.py --mpl-generate-path=tests/baseline``; look at each of them before you commit it.
"""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import AXIAL, CORONAL, FLIPPED, OBLIQUE, PRONE, ct_series, truth_labels, write_series
from matplotlib import rc_context, style
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text
from PIL import Image

from magician._histogram import Density
from magician._planes import places
from magician._surface import VIEWS, surface
from magician.display import compare, density_histogram, lung_surface, montage, three_planes
from magician.volume import read_series

BASELINE = Path(__file__).parent / "baseline"
# Root of the mean squared difference of grey levels. Versions of matplotlib draw lines and edges a little differently.
# They draw letters so differently that these are left out here; what is written, and where, is tested below.
TOLERANCE = 7
DPI = 100  # as in a notebook
# In these proportions the edges of all pictures fall between pixels of the figure, so that none is rounded
GRID = {"slices": 20, "rows": 88, "columns": 88, "spacing_mm": (2.75, 1.25, 1.25)}


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A body with two lungs, a spine at its back, and something solid low in the right lung."""
    series = ct_series(**GRID)
    volume = read_series(write_series(series, tmp_path_factory.mktemp("ct")))
    z, y, x = (
        np.einsum("a,a...->...", row[:3], np.indices(volume.hu.shape)) + row[3] for row in volume.affine[[2, 1, 0]]
    )
    spine = (x / 7) ** 2 + ((y - 30) / 6) ** 2 < 1
    solid = ((x + 24) / 8) ** 2 + ((y - 6) / 9) ** 2 + ((z + 158) / 6) ** 2 < 1
    hu = np.where(spine, 400, np.where(solid & (truth_labels(series) > 0), 30, volume.hu))
    return replace(volume, hu=hu.astype(np.float32))


@pytest.fixture(scope="module")
def labels():
    return truth_labels(ct_series(**GRID))


DRAWN = {
    "montage": lambda volume, labels: montage(volume, labels, tiles=4),
    "compare": lambda volume, labels: compare(volume, {"both": labels, "right only": np.uint8(labels == 1)}, 5),
    "three_planes": lambda volume, labels: three_planes(volume, labels, position=(7, 48, 25)),
    "lung_surface": lung_surface,
    "density_histogram": density_histogram,
}


def without_text(picture):
    for text in picture.figure.findobj(Text):
        text.set_visible(False)
    return picture.figure


def figure_test(name):
    return pytest.mark.mpl_image_compare(filename=f"{name}.png", tolerance=TOLERANCE, savefig_kwargs={"dpi": DPI})


@figure_test("montage")
def test_a_montage_looks_as_it_did(volume, labels):
    return without_text(DRAWN["montage"](volume, labels))


@figure_test("compare")
def test_masks_side_by_side_look_as_they_did(volume, labels):
    return without_text(DRAWN["compare"](volume, labels))


@figure_test("three_planes")
def test_three_planes_look_as_they_did(volume, labels):
    return without_text(DRAWN["three_planes"](volume, labels))


@figure_test("lung_surface")
def test_the_surface_of_the_lungs_looks_as_it_did(volume, labels):
    return without_text(DRAWN["lung_surface"](volume, labels))


@figure_test("density_histogram")
def test_the_histogram_looks_as_it_did(volume, labels):
    return without_text(DRAWN["density_histogram"](volume, labels))


def difference(picture, name, tmp_path):
    """How far a picture is from the stored one, by the measure of pytest-mpl; nothing if it would pass."""
    drawn, stored = tmp_path / "drawn.png", tmp_path / "stored.png"
    without_text(picture).savefig(drawn, dpi=DPI)
    stored.write_bytes((BASELINE / f"{name}.png").read_bytes())
    found = compare_images(str(stored), str(drawn), tol=TOLERANCE, in_decorator=True)
    return found and found["rms"]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_in_a_notebook_with_another_style(volume, labels, name, tmp_path):
    with style.context("dark_background"), rc_context({"font.size": 20, "image.cmap": "hot"}):
        picture = DRAWN[name](volume, labels)
    assert difference(picture, name, tmp_path) is None


@pytest.mark.parametrize("name", ["montage", "compare", "three_planes", "lung_surface"])
def test_a_mirrored_picture_is_caught(volume, labels, name, tmp_path):
    mirrored = replace(volume, hu=volume.hu[..., ::-1])
    assert difference(DRAWN[name](mirrored, labels[..., ::-1]), name, tmp_path) > 1.5 * TOLERANCE


@pytest.mark.parametrize("name", ["three_planes", "lung_surface"])
def test_a_picture_upside_down_is_caught(volume, labels, name, tmp_path):
    turned = replace(volume, hu=volume.hu[::-1])
    assert difference(DRAWN[name](turned, labels[::-1]), name, tmp_path) > 1.5 * TOLERANCE


@pytest.mark.parametrize("name", ["montage", "compare", "three_planes"])
def test_an_overlay_that_is_missing_is_caught(volume, labels, name, tmp_path):
    assert difference(DRAWN[name](volume, np.zeros_like(labels)), name, tmp_path) > 1.5 * TOLERANCE


@pytest.mark.parametrize("name", ["lung_surface", "density_histogram"])
def test_right_and_left_exchanged_is_caught(volume, labels, name, tmp_path):
    exchanged = np.array([0, 2, 1], np.uint8)[labels]
    assert difference(DRAWN[name](volume, exchanged), name, tmp_path) is not None
