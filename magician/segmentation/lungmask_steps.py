"""What lungmask does before and after its network, with the same outcome for a third of the work.

lungmask works slice by slice and on whole volumes where a few rows and columns decide. With its
large network nobody notices; beside the small one that comes with this package it took a third of
the time. Each function names the one of ``lungmask.utils`` that it stands for, and a test holds it
to that one's output, bit for bit: the networks were trained on what these steps hand them, and the
odd corners belong to it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NETWORK_SIZE = 256  # rows and columns of what the network sees
COARSE_SIZE = 128  # rows and columns on which the body is looked for
BODY_HU = -500
SMALLEST = 3  # voxels; pieces below it are not worth a look at their neighbours

_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)  # 4 neighbours in the same slice
_SQUARE = np.ones((1, 3, 3), bool)  # 8 neighbours in the same slice


def crop_to_body(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clip to -1024..600 HU, crop each slice to the body and scale it to what the network sees
    (``preprocess``).

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
    """Find the rectangle around the body in each slice; all of a slice without one
    (``simple_bodymask``).

    The body is the largest piece above -500 HU of a coarse copy, closed, its holes filled, and
    without thin parts.

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
        # Scaled down, a body can fall into two, of which lungmask takes the first
        from lungmask import utils

        return np.array(
            [utils.crop_and_resize(plane, NETWORK_SIZE, NETWORK_SIZE)[1] for plane in hu]
        )
    coarse = np.stack(
        [ndimage.zoom(plane, COARSE_SIZE / np.array(plane.shape), order=0) for plane in hu]
    )
    body = ndimage.binary_closing(coarse > BODY_HU, _CROSS)
    body = ndimage.binary_fill_holes(body, _SQUARE)
    body = ndimage.binary_erosion(body, _CROSS, iterations=2)
    pieces, _ = ndimage.label(
        body, np.concatenate([np.zeros_like(_CROSS), _CROSS, np.zeros_like(_CROSS)])
    )
    row_of, column_of = _nearest(COARSE_SIZE, rows), _nearest(COARSE_SIZE, columns)
    boxes = np.tile([0, 0, rows, columns], (len(hu), 1))
    for plane, box in zip(pieces, boxes, strict=True):
        sizes = np.bincount(plane.ravel())
        sizes[0] = 0
        if sizes.any():
            inside = plane == sizes.argmax()
            # lungmask dilates by what the erosion took, which moves each edge of the rectangle out
            # by 2
            box[0::2] = _reach(row_of, inside.any(axis=1))
            box[1::2] = _reach(column_of, inside.any(axis=0))
    return boxes


def _reach(coarse_of: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
    """First and last + 1 position whose coarse one is inside, or at most 2 away from it."""
    positions = np.flatnonzero(inside) + 1  # 3 or more: the erosion cleared the edge
    found = np.flatnonzero((coarse_of >= positions[0] - 2) & (coarse_of <= positions[-1] + 2))
    return int(found[0]), int(found[-1]) + 1


@lru_cache(maxsize=1024)
def _nearest(size: int, wanted: int) -> np.ndarray:
    """For each position of an axis scaled from `size` to `wanted`, the position that it comes from,
    counted from 1.

    It is asked of scipy's ``zoom`` itself: 0 is where its rounding runs over the edge, and
    background is filled in.
    """
    from scipy.ndimage import zoom

    return zoom(np.arange(1, size + 1), wanted / size, order=0)


def back_to_image(small: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Scale labels back to the crop of each slice, nearest neighbour, zero around it
    (``reshape_mask``).

    Parameters
    ----------
    small : array of uint8, shape (slices, 256, 256)
    boxes : array of int, shape (slices, 4)
        From :func:`crop_to_body`.
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
    """Keep the largest piece of each label, without holes; smaller ones go to a neighbour
    (``postprocessing``).

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
    """Give each piece that is not the largest of its label to the neighbour with which it shares
    the longest border.
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
    becomes = np.zeros_like(label_of)  # of pieces of equal size only the first stays
    for piece in smallest_first:
        if sizes[piece] > largest[label_of[piece]]:
            largest[label_of[piece]] = sizes[piece]
            becomes[piece] = label_of[piece]

    for piece in smallest_first:
        if not SMALLEST <= sizes[piece] < largest[label_of[piece]]:
            continue
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in boxes[piece])
        here = pieces[around] == piece
        neighbours, contacts = np.unique(
            pieces[around][ndimage.binary_dilation(here)], return_counts=True
        )
        contacts[(neighbours == 0) | (neighbours == piece)] = 0
        if not contacts.any():
            continue
        target = int(neighbours[contacts.argmax()])
        pieces[around][here] = target
        boxes[target] = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(boxes[piece], boxes[target], strict=True)
        )
        if sizes[target] == largest[label_of[target]]:
            largest[label_of[target]] += sizes[piece]
        sizes[target] += sizes[piece]
    return becomes[pieces]


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count == 1:
        return mask
    sizes = np.bincount(pieces.ravel())[1:].astype(float)
    # of equal pieces the one that lungmask's argsort puts last
    return pieces == sizes.argsort()[-1] + 1
