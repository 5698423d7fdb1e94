"""The steps before and after the network give what lungmask's own give, bit for bit, in odd corners
too.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import write_series
from scipy.ndimage import gaussian_filter

from magician.ct.volume import read_series
from magician.segmentation.lungmask_steps import back_to_image, crop_to_body, tidy
from magician.segmentation.networks import quiet_lungmask

with quiet_lungmask():
    from lungmask import utils

# In 307 and 154 scipy's rounding runs over the edge; those below 128 are scaled down to look for
# the body
SHAPES = [(512, 512), (128, 128), (129, 300), (307, 154), (127, 256), (64, 72), (90, 307)]


def lungmask_crops(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, boxes = utils.preprocess(hu, resolution=[256, 256])
    return images, np.array([list(box) for box in boxes])


def lungmask_tidy(labels: np.ndarray) -> np.ndarray:
    with quiet_lungmask():
        return utils.postprocessing(labels.copy(), disable_tqdm=True)


def assert_same_crops(hu: np.ndarray) -> None:
    (images, boxes), (their_images, their_boxes) = crop_to_body(hu), lungmask_crops(hu)
    assert np.array_equal(boxes, their_boxes)
    assert np.array_equal(images, their_images)
    assert images.dtype == their_images.dtype == np.float32


# ------------------------------------------------------------------ before the network


def bodies(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Four slices of air and soft tissue, in HU."""
    random = np.random.default_rng(seed)
    hu = np.full((4, *shape), -1000, np.float32)
    if kind == "noise":
        return random.uniform(-2000, 1500, hu.shape).astype(np.float32)
    if kind == "clouds":
        smooth = gaussian_filter(random.normal(size=hu.shape), (0, 6, 4))
        return (smooth / smooth.std() * 800 - 500).astype(np.float32)
    if kind == "all body":
        return np.full_like(hu, 40)
    if kind == "thin lines":
        hu[:, shape[0] // 3] = hu[:, :, shape[1] // 2] = 40
    for plane in hu if kind in ("tiny bodies", "two equal bodies", "many bodies") else ():
        size = random.integers(3, 9, 2) if kind == "tiny bodies" else random.integers(12, 40, 2)
        for _ in range(8 if kind == "many bodies" else 2):
            if kind == "many bodies":
                size = random.integers(3, 60, 2)
            row, column = random.integers(0, shape)
            plane[row : row + size[0], column : column + size[1]] = 40
    return hu


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "kind",
    [
        "no body",
        "all body",
        "tiny bodies",
        "two equal bodies",
        "many bodies",
        "thin lines",
        "noise",
        "clouds",
    ],
)
def test_crops_of_odd_slices_are_those_of_lungmask(kind, shape):
    for seed in range(2):
        assert_same_crops(bodies(kind, shape, seed))


def test_crops_of_a_real_chest_ct_are_those_of_lungmask(real_chest_ct):
    assert_same_crops(read_series(real_chest_ct).hu[::7])


def test_crops_of_a_flipped_view_are_those_of_lungmask(real_chest_ct):
    assert_same_crops(read_series(real_chest_ct).hu[::16, ::-1, ::-1])


# ------------------------------------------------------------------ after the network


def outcomes(kind: str, seed: int) -> np.ndarray:
    """What a network might say, and what it never should: labels 0, 1, 2."""
    random = np.random.default_rng(seed)
    shape = (random.integers(2, 9), *random.integers(12, 40, 2))
    smooth = gaussian_filter(random.normal(size=shape), 1.5)
    lungs = (smooth > 0) * (1 + (np.arange(shape[2]) > shape[2] // 2))
    if kind == "lungs with specks":
        lungs = np.where(random.random(shape) < 0.05, random.integers(0, 3, shape), lungs)
    elif kind == "lungs in each other":
        lungs = (smooth > 0) * (1 + (gaussian_filter(random.normal(size=shape), 1) > 0))
    elif kind == "specks only":
        lungs = random.integers(0, 3, shape) * (random.random(shape) < 0.1)
    elif kind == "equal pieces":
        lungs, size = np.zeros(shape, int), random.integers(1, 4, 3)
        for _ in range(12):
            corner = random.integers(0, shape)
            lungs[tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))] = (
                random.integers(1, 3)
            )
    elif kind == "a lung with holes":
        lungs = np.where(random.random(shape) < 0.2, 0, 2)
    elif kind == "noise":
        lungs = random.integers(0, 3, shape)
    return lungs.astype(np.uint8)


@pytest.mark.parametrize(
    "kind",
    [
        "lungs",
        "lungs with specks",
        "lungs in each other",
        "specks only",
        "equal pieces",
        "a lung with holes",
        "noise",
    ],
)
def test_odd_outcomes_are_tidied_as_by_lungmask(kind):
    for seed in range(25):
        labels = outcomes(kind, seed)
        before = labels.copy()
        assert np.array_equal(tidy(labels), lungmask_tidy(labels)), f"seed {seed}"
        assert np.array_equal(labels, before)


def test_an_empty_mask_stays_empty():
    assert not tidy(np.zeros((3, 256, 256), np.uint8)).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_labels_come_back_to_the_image_as_by_lungmask(shape):
    random = np.random.default_rng(0)
    small = random.integers(0, 3, (4, 256, 256)).astype(np.uint8)
    small[1] = 0
    boxes = np.array([[0, 0, *shape], [3, 5, 40, 50], [7, 0, 8, shape[1]], [10, 11, 22, 34]])
    theirs = [utils.reshape_mask(mask, box, shape) for mask, box in zip(small, boxes, strict=True)]
    assert np.array_equal(back_to_image(small, boxes, shape), theirs)


# ------------------------------------------------------------------ all of it


def test_whole_teaching_study_is_as_by_lungmask(tmp_path):
    from magician.teaching.phantom import teaching_study

    hu = read_series(write_series(teaching_study(progress=False).datasets, tmp_path)).hu
    assert_same_crops(hu)
    images, boxes = crop_to_body(hu)
    dark = gaussian_filter(images, 1) < -600
    # air around the body, and gas, are in it too
    rough = (dark * (1 + (np.arange(256) > 128))).astype(np.uint8)
    tidied = tidy(rough)
    assert np.array_equal(tidied, lungmask_tidy(rough))
    theirs = [
        utils.reshape_mask(mask, box, hu.shape[1:]) for mask, box in zip(tidied, boxes, strict=True)
    ]
    assert np.array_equal(back_to_image(tidied, boxes, hu.shape[1:]), theirs)
