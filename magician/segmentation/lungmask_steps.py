"""The steps of lungmask before and after its network: the same outcome for a third of the work.

lungmask works through each slice, and through whole volumes even if a few rows and columns decide.
Beside its large network that time does not matter; beside the small network of this package it was
a third of the whole. Each function below names the function of ``lungmask.utils`` that it replaces.
A test compares the two outputs bit for bit, unusual cases included: the networks were trained on
the output of these steps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NETWORK_SIZE = 256  # rows and columns of the images that the network gets
COARSE_SIZE = 128  # rows and columns of the images in which the body is searched
BODY_HU = -500
SMALLEST = 3  # voxels; a smaller piece is removed, a larger one may be merged with a neighbour

CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)  # 4 neighbours in the same slice
SQUARE = np.ones((1, 3, 3), bool)  # 8 neighbours in the same slice


def crop_to_body(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clip to -1024..600 HU, crop to the body and scale for the network (``preprocess``).

    Each slice gets a crop of its own.

    Parameters
    ----------
    hu : array of float, shape (slices, rows, columns), in HU

    Returns
    -------
    images : array of float32, shape (slices, 256, 256), in HU
    boxes : array of int, shape (slices, 4)
        First row, first column, last row + 1 and last column + 1 of each crop.
    """
    from scipy.ndimage import zoom

    boxes = body_boxes(hu)
    images = np.empty((len(hu), NETWORK_SIZE, NETWORK_SIZE), np.float32)
    for plane, (top, left, bottom, right), image in zip(hu, boxes, images, strict=True):
        crop = np.clip(plane[top:bottom, left:right], -1024, 600)
        image[:] = zoom(crop, NETWORK_SIZE / np.array(crop.shape), order=1)
    return images, boxes


def body_boxes(hu: np.ndarray) -> np.ndarray:
    """Find the rectangle around the body in each slice (``simple_bodymask``).

    The body is the largest piece above -500 HU in a coarse copy of the slice, after closing, after
    filling of holes and after removal of thin parts. The rectangle of a slice without a body is the
    whole slice.

    Parameters
    ----------
    hu : array of float, shape (slices, rows, columns), in HU

    Returns
    -------
    array of int, shape (slices, 4): first row, first column, last row + 1, last column + 1
    """
    from scipy import ndimage

    rows, columns = hu.shape[1:]
    if min(rows, columns) < COARSE_SIZE:
        # A body that is scaled down can fall into two pieces; lungmask takes the first of them
        from lungmask import utils

        return np.array(
            [utils.crop_and_resize(plane, NETWORK_SIZE, NETWORK_SIZE)[1] for plane in hu]
        )
    coarse = np.stack(
        [ndimage.zoom(plane, COARSE_SIZE / np.array(plane.shape), order=0) for plane in hu]
    )
    body = ndimage.binary_closing(coarse > BODY_HU, CROSS)
    body = ndimage.binary_fill_holes(body, SQUARE)
    body = ndimage.binary_erosion(body, CROSS, iterations=2)
    pieces, _ = ndimage.label(
        body, np.concatenate([np.zeros_like(CROSS), CROSS, np.zeros_like(CROSS)])
    )
    row_of, column_of = _nearest(COARSE_SIZE, rows), _nearest(COARSE_SIZE, columns)
    boxes = np.tile([0, 0, rows, columns], (len(hu), 1))
    for plane, box in zip(pieces, boxes, strict=True):
        sizes = np.bincount(plane.ravel())
        sizes[0] = 0
        if sizes.any():
            inside = plane == sizes.argmax()
            # lungmask dilates the body again after its erosion: each edge moves out by 2
            box[0::2] = _reach(row_of, inside.any(axis=1))
            box[1::2] = _reach(column_of, inside.any(axis=0))
    return boxes


def _reach(coarse_of: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
    """Return the first and the last + 1 position of the body, after a dilation by 2 coarse ones."""
    positions = np.flatnonzero(inside) + 1  # 3 or more: the erosion cleared the edge
    found = np.flatnonzero((coarse_of >= positions[0] - 2) & (coarse_of <= positions[-1] + 2))
    return int(found[0]), int(found[-1]) + 1


@lru_cache(maxsize=1024)
def _nearest(size: int, wanted: int) -> np.ndarray:
    """Return the source of each position on an axis that is scaled from `size` to `wanted`.

    Sources are counted from 1. A source of 0 is background: there, the rounding of scipy's ``zoom``
    goes beyond the edge. ``zoom`` itself is asked, so that its rounding is repeated exactly.
    """
    from scipy.ndimage import zoom

    return zoom(np.arange(1, size + 1), wanted / size, order=0)


def back_to_image(small: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Scale labels back to the crop of each slice, with zero around it (``reshape_mask``).

    The nearest neighbour gives the label.

    Parameters
    ----------
    small : array of uint8, shape (slices, 256, 256)
    boxes : array of int, shape (slices, 4)
        From `crop_to_body`.
    shape : tuple of int
        Rows and columns of the CT.

    Returns
    -------
    array of uint8, shape (slices, rows, columns)
    """
    labels = np.zeros((len(small), *shape), np.uint8)
    for plane, (top, left, bottom, right), wanted in zip(small, boxes, labels, strict=True):
        if plane.any():
            row_of, column_of = (
                _nearest(NETWORK_SIZE, bottom - top),
                _nearest(NETWORK_SIZE, right - left),
            )
            framed = np.pad(plane, ((1, 0), (1, 0)))  # position 0 is background
            wanted[top:bottom, left:right] = framed[row_of][:, column_of]
    return labels


def tidy(labels: np.ndarray) -> np.ndarray:
    """Keep the largest piece of each label and fill its holes (``postprocessing``).

    A smaller piece gets the label of a neighbour, or is removed.

    Parameters
    ----------
    labels : array of uint8, shape (slices, rows, columns), at least 2 slices

    Returns
    -------
    array of uint8, same shape
    """
    import fill_voids
    from scipy import ndimage

    tidied = np.zeros_like(labels)
    if not labels.any():
        return tidied
    part = ndimage.find_objects((labels > 0).view(np.uint8))[0]
    merged = _merge_small_pieces(labels[part])
    for label, box in enumerate(ndimage.find_objects(merged), start=1):
        if box is not None:
            lung = fill_voids.fill(_largest_piece(merged[box] == label))
            tidied[part][box][lung] = label
    return tidied


def _merge_small_pieces(labels: np.ndarray) -> np.ndarray:
    """Merge each piece that is not the largest of its label with a neighbour.

    It is the neighbour that shares the longest border with the piece.
    """
    from scipy import ndimage
    from skimage.measure import label

    pieces = label(labels)
    boxes = [None, *ndimage.find_objects(pieces)]
    sizes = np.bincount(pieces.ravel()).tolist()
    label_of = np.zeros(len(sizes), np.uint8)
    label_of[pieces] = labels
    smallest_first = sorted(range(1, len(sizes)), key=sizes.__getitem__)

    largest = dict.fromkeys(label_of.tolist(), 0)
    new_label_of = np.zeros_like(
        label_of
    )  # of pieces of equal size, only the first keeps its label
    for piece in smallest_first:
        if sizes[piece] > largest[label_of[piece]]:
            largest[label_of[piece]] = sizes[piece]
            new_label_of[piece] = label_of[piece]

    for piece in smallest_first:
        if not SMALLEST <= sizes[piece] < largest[label_of[piece]]:
            continue
        surroundings = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in boxes[piece])
        inside = pieces[surroundings] == piece
        neighbours, contacts = np.unique(
            pieces[surroundings][ndimage.binary_dilation(inside)], return_counts=True
        )
        contacts[(neighbours == 0) | (neighbours == piece)] = 0
        if not contacts.any():
            continue
        target = int(neighbours[contacts.argmax()])
        pieces[surroundings][inside] = target
        boxes[target] = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(boxes[piece], boxes[target], strict=True)
        )
        if sizes[target] == largest[label_of[target]]:
            largest[label_of[target]] += sizes[piece]
        sizes[target] += sizes[piece]
    return new_label_of[pieces]


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count == 1:
        return mask
    sizes = np.bincount(pieces.ravel())[1:].astype(float)
    # as in lungmask: of pieces of equal size, the one that argsort puts last
    return pieces == sizes.argsort()[-1] + 1
