"""The figures of CT, compared with stored ones, and checks that the comparison would catch what
matters.

Figures that were changed on purpose are stored anew by
``python -m pytest tests/test_figures.py --mpl-generate-path=tests/baseline``; look at each before
you commit it.
"""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import AXIAL, CORONAL, ORIENTATIONS, ct_series, truth_labels, write_series
from matplotlib import rc_context, style
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text
from PIL import Image

from magician.ct.volume import read_series
from magician.display.figures import compare, density_histogram, lung_surface, montage, three_planes
from magician.display.histogram import Density
from magician.display.surface import VIEWS, surface
from magician.rendering.orientation import position_parts

BASELINE = Path(__file__).parent / "baseline"
# Root of the mean squared difference of grey levels. Versions of matplotlib draw lines and edges a
# little differently. They draw letters so differently that these are left out here; what is
# written, and where, is tested below.
TOLERANCE = 5
DPI = 100  # as in a notebook
# In these proportions the edges of all pictures fall between pixels of the figure, so that none is
# rounded
GRID = {"slices": 20, "rows": 88, "columns": 88, "spacing_mm": (2.75, 1.25, 1.25)}


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A body with two lungs, a spine at its back, and something solid low in the right lung."""
    series = ct_series(**GRID)
    volume = read_series(write_series(series, tmp_path_factory.mktemp("ct")))
    z, y, x = (
        np.einsum("a,a...->...", row[:3], np.indices(volume.hu.shape)) + row[3]
        for row in volume.affine[[2, 1, 0]]
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
    "compare": lambda volume, labels: compare(
        volume, {"both": labels, "right only": np.uint8(labels == 1)}, 5
    ),
    "three_planes": lambda volume, labels: three_planes(volume, labels, position=(7, 48, 25)),
    "lung_surface": lung_surface,
    "density_histogram": density_histogram,
}


def without_text(picture):
    for text in picture.figure.findobj(Text):
        text.set_visible(False)
    return picture.figure


def figure_test(name):
    return pytest.mark.mpl_image_compare(
        filename=f"{name}.png", tolerance=TOLERANCE, savefig_kwargs={"dpi": DPI}
    )


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
    """How far a picture is from the stored one, by the measure of pytest-mpl; nothing if it would
    pass.
    """
    drawn, stored = tmp_path / "drawn.png", tmp_path / "stored.png"
    without_text(picture).savefig(drawn, dpi=DPI)
    stored.write_bytes((BASELINE / f"{name}.png").read_bytes())
    found = compare_images(str(stored), str(drawn), tol=TOLERANCE, in_decorator=True)
    return found and found["rms"]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_in_a_notebook_with_another_style(volume, labels, name, tmp_path):
    with style.context("dark_background"), rc_context({"font.size": 20, "image.cmap": "hot"}):
        picture = DRAWN[name](volume, labels)
    titles = [axes.title for axes in picture.figure.axes if axes.get_title()]
    assert {(title.get_color(), title.get_fontsize() < 12) for title in titles} <= {("black", True)}
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


def reread(tmp_path, orientation=AXIAL, **changes):
    """A small volume and its labels, read from files with this orientation."""
    series = ct_series(orientation=orientation, **changes)
    volume = read_series(write_series(series, tmp_path), series[0].SeriesInstanceUID)
    order = np.argsort(
        [[ds.SOPInstanceUID for ds in series].index(h.SOPInstanceUID) for h in volume.headers]
    )
    return volume, truth_labels(series)[np.argsort(order)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("orientation", "name"), [(AXIAL, "axial"), (CORONAL, "coronal")], ids=["axial", "coronal"]
)
def test_a_montage_names_its_plane_and_where_each_slice_lies(tmp_path, orientation, name):
    volume, _ = reread(tmp_path, orientation)
    picture = montage(volume)
    assert f" {name} slices" in repr(picture)
    along = 2 if name == "axial" else 1
    millimetres = [float(axes.get_title().split()[1]) for axes in picture.figure.axes]
    np.testing.assert_allclose(
        millimetres, [volume.affine[along] @ [i, 0, 0, 1] for i in range(12)], atol=0.51
    )


def test_pixels_that_are_no_squares_are_shown_in_true_proportions(tmp_path):
    volume, _ = reread(tmp_path, rows=32, spacing_mm=(3.0, 3.0, 1.5))
    (axes, *_) = montage(volume).figure.axes
    assert axes.images[0].get_extent() == [0, 72 * 1.5, 32 * 3.0, 0]
    assert axes.get_aspect() == 1


@pytest.mark.parametrize(
    ("columns", "name", "mm"), [(72, "2 cm", 20), (24, "1 cm", 10), (16, "5 mm", 5)]
)
def test_a_scale_bar_is_as_long_as_it_says(tmp_path, columns, name, mm):
    volume, _ = reread(tmp_path, columns=columns)
    for axes in montage(volume).figure.axes:
        (bar,) = axes.lines
        assert bar.get_label() == texts(axes)[4] == name
        assert np.ptp(bar.get_xdata()) == pytest.approx(mm)


def test_letters_stand_at_the_edges_that_they_name(volume):
    (axes, *_) = montage(volume).figure.axes
    # as shares of the picture
    left, right, upper, lower = [text.get_position() for text in axes.texts[:4]]
    assert (left[0], right[0], upper[1], lower[1]) == (0.02, 0.98, 0.98, 0.02)
    assert left[1] == right[1] == upper[0] == lower[0] == 0.5


def test_each_lung_is_outlined_where_it_ends(volume, labels):
    picture = compare(volume, {"both": labels}, 8)
    (axes,) = picture.figure.axes
    for label, contour in zip((1, 2), axes.collections, strict=True):
        rows, columns = np.nonzero(labels[8] == label)
        points = np.concatenate([path.vertices for path in contour.get_paths()])
        limits = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
        found = [
            *points[:, 0].min(keepdims=True),
            points[:, 0].max(),
            points[:, 1].min(),
            points[:, 1].max(),
        ]
        np.testing.assert_allclose(found, np.array(limits) * 1.25, atol=0.01)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_lines_of_three_planes_cross_in_the_voxel_that_is_asked_for(tmp_path, name):
    volume, _ = reread(tmp_path, ORIENTATIONS[name], rows=60)
    hu = np.full(volume.hu.shape, -1000, np.float32)
    hu[5, 20, 31] = 1000  # one bright voxel
    figure = three_planes(replace(volume, hu=hu), position=(5, 20, 31)).figure
    scale = {
        round(axes.images[0].get_extent()[1] / axes.get_position().width, 3) for axes in figure.axes
    }
    assert len(scale) == 1
    for axes in figure.axes:
        pixels, (_, right, bottom, _) = axes.images[0].get_array(), axes.images[0].get_extent()
        ((row, column),) = np.argwhere(pixels == 255)
        place = [(column + 0.5) * right / pixels.shape[1], (row + 0.5) * bottom / pixels.shape[0]]
        upright = {
            x for line in axes.lines[1:] for x in line.get_xdata() if np.ptp(line.get_xdata()) == 0
        }
        level = {
            y for line in axes.lines[1:] for y in line.get_ydata() if np.ptp(line.get_ydata()) == 0
        }
        np.testing.assert_allclose([*upright, *level], place)


def test_a_line_looks_like_the_frame_of_the_plane_that_it_stands_for(volume):
    axial, coronal, sagittal = three_planes(volume).figure.axes
    frames = {axes: axes.spines["left"].get_edgecolor() for axes in (axial, coronal, sagittal)}
    assert len(set(frames.values())) == 3

    def colours(axes, way):
        lines = [line for line in axes.lines[1:] if np.ptp(getattr(line, f"get_{way}data")()) == 0]
        return {
            (*np.array([int(line.get_color()[i : i + 2], 16) for i in (1, 3, 5)]) / 255, 1.0)
            for line in lines
        }

    assert colours(axial, "y") == colours(sagittal, "x") == {frames[coronal]}
    assert colours(axial, "x") == colours(coronal, "x") == {frames[sagittal]}
    assert colours(coronal, "y") == colours(sagittal, "y") == {frames[axial]}
    assert len({str(axes.spines["left"].get_linestyle()) for axes in frames}) == 3


def test_three_planes_say_which_slices_they_are(volume):
    picture = three_planes(volume, position=(7, 48, 25))
    right, back, up = position_parts(volume, (7, 48, 25))
    assert [axes.get_title() for axes in picture.figure.axes] == [
        f"axial: 8 of 20, {up} mm",
        f"coronal: 49 of 88, {back} mm",
        f"sagittal: 26 of 88, {right} mm",
    ]
    assert up in picture.numbers
    assert up not in repr(picture)  # which is compared, and the same for any point


@pytest.mark.parametrize("position", [(20, 0, 0), (0, -1, 0), (1, 2)])
def test_a_position_outside_the_volume_is_refused(volume, position):
    with pytest.raises(
        ValueError, match=r"\(slice, row, column\) is .*; the volume has the shape \(20, 88, 88\)"
    ):
        three_planes(volume, position=position)


@pytest.mark.parametrize("name", ["axial", "flipped", "coronal", "oblique"])
def test_the_surface_lies_where_the_lung_is(tmp_path, name):
    """The right lung of the small phantom is an ellipsoid about (-20, 0, -150) with the radii 15,
    22 and 16 mm.
    """
    volume, labels = reread(
        tmp_path, ORIENTATIONS[name], spacing_mm=(2.0, 1.5, 1.5), slices=38, rows=50
    )
    points, faces, normals = surface(labels == 1, volume.affine)
    from_centre = (points - [-20, 0, -150]) / [15, 22, 16]
    assert np.abs(np.linalg.norm(from_centre, axis=1) - 1).max() < 0.12
    outward = from_centre / [15, 22, 16]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (outward * normals).sum(axis=1).min() > 0.9
    a, b, c = (points[faces[:, i]] for i in range(3))
    enclosed = (
        abs(np.einsum("ij,ij->i", a - points[0], np.cross(b - points[0], c - points[0])).sum()) / 6
    )
    assert enclosed == pytest.approx(4 / 3 * np.pi * 15 * 22 * 16, rel=0.1)  # rounded off


def test_the_right_lung_is_the_lighter_one_in_grey_too(volume, labels):
    picture = lung_surface(volume, labels)
    grey = np.asarray(Image.open(BytesIO(picture.encode())).convert("L"), int)

    def levels(axes, lung):  # in a column of 16 mm below the name, which stands above the lung
        ((x, y),) = [
            text.get_position() for text in axes.texts if text.get_text() == f"{lung} lung"
        ]
        (column, top), (_, bottom) = axes.transData.transform([(x, y - 6), (x, y - 22)])
        return grey[grey.shape[0] - int(top) : grey.shape[0] - int(bottom), int(column)]

    for axes in picture.figure.axes:
        assert levels(axes, "right").min() > levels(axes, "left").max() + 30


def test_directions_are_written_where_they_lead(volume, labels):
    figure = lung_surface(volume, labels).figure
    assert [axes.get_title() for axes in figure.axes] == list(VIEWS)
    for axes, (left, right, up, down) in zip(figure.axes, ["RLHF", "LRHF"], strict=True):
        place = {text.get_text(): text.get_position() for text in axes.texts}
        assert set("RLAPHF") | {"right lung", "left lung", "2 cm"} == set(place)
        assert place[left][0] < place[right][0]
        assert place[up][1] > place[down][1]
        assert (place["right lung"][0] < place["left lung"][0]) == (left == "R")


def test_the_density_of_a_lung_in_numbers():
    hu = np.array([-1000, -960, -940, -850, -600, -400, -250, -100, 40, 60], np.float32)
    density = Density.of(hu)
    assert (
        str(density)
        == "mean -500 HU, median -500 HU, 20.0% below -950 HU, 30.0% from -600 to -250 HU"
    )
    assert density.shares.sum() == pytest.approx(1)


def test_the_histogram_marks_mean_and_median_of_each_lung(volume, labels):
    picture = density_histogram(volume, labels)
    marks = picture.figure.axes[0]
    for (median, mean), label in zip(
        zip(marks.lines[::2], marks.lines[1::2], strict=True), (1, 2), strict=True
    ):
        hu = volume.hu[labels == label]
        assert median.get_xdata()[0] == np.median(hu)
        assert mean.get_xdata()[0] == pytest.approx(hu.mean())
    assert "right lung: mean" in picture.numbers
    # stable, whatever the network finds
    assert not any(figure in repr(picture) for figure in ("mean -", "%"))


def test_a_drawing_is_a_png_of_few_colours_and_modest_size(volume, labels):
    for draw in (lung_surface, density_histogram):
        picture = draw(volume, labels)
        data = picture.encode()
        image = Image.open(BytesIO(data))
        assert (image.format, image.mode) == ("PNG", "P")
        assert len(data) < 200_000
        assert picture._repr_html_().count("data:image/png;base64,") == 1


def test_the_words_of_a_figure_tell_its_numbers_too(volume, labels):
    picture = density_histogram(volume, labels)
    assert picture.alt == f"{picture.description} {picture.numbers}"
    assert "right lung: mean -" in picture._repr_html_()


@pytest.mark.parametrize("draw", [lung_surface, density_histogram])
def test_one_lung_alone_is_drawn(volume, labels, draw):
    data = draw(volume, np.where(labels == 2, labels, 0)).encode()
    assert Image.open(BytesIO(data)).format == "PNG"


@pytest.mark.parametrize("draw", [lung_surface, density_histogram])
def test_a_mask_without_sides_or_without_lungs_is_refused(volume, labels, draw):
    with pytest.raises(ValueError, match="can't tell right from left"):
        draw(volume, labels > 0)
    with pytest.raises(ValueError, match="neither a right lung"):
        draw(volume, np.zeros_like(labels))
    with pytest.raises(ValueError, match="has the shape"):
        draw(volume, labels[1:])
