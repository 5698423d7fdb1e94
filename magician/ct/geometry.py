"""The geometry of a series: whether its images form one exact volume, and the place of each.

Many readers assume that slices are evenly spaced, parallel and straight above each other. Where
that is wrong, a volume in millilitres is wrong too, and the picture does not show it. Each of these
assumptions is tested here. The first that fails is refused, with the slices and positions
concerned (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from magician.errors import SeriesError

# Scanners round positions, some to 0.1 mm. A slice may therefore be wrong by half of that.
POSITION_TOLERANCE_MM = 0.05 + 1e-6
# Gantries are tilted by whole degrees. A smaller slant comes from rounded direction cosines.
TILT_TOLERANCE_DEGREES = 0.05
MUST_AGREE = {
    "StudyInstanceUID": "studies",
    "PatientID": "patient IDs",
    "FrameOfReferenceUID": "frames of reference, so their positions can't be compared",
    "Rows": "numbers of rows",
    "Columns": "numbers of columns",
}


@dataclass(frozen=True)
class Stack:
    """The slices of one volume: their order, their distances, and their place in the patient.

    Attributes
    ----------
    order : list of int
        Indices of the headers from feet to head.
    spacing_mm : tuple of float
        (slice, row, column).
    affine : array (4, 4)
        Maps (slice, row, column, 1) to voxel centres in LPS mm.
    """

    order: list[int]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


def read_numbers(header: Dataset, keyword: str, count: int) -> np.ndarray:
    """Return the `count` finite numbers of one element.

    Raises
    ------
    SeriesError
        If the element is missing or holds something else.
    """
    try:
        value = np.atleast_1d(np.array(header[keyword].value, float))
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise SeriesError(f"{describe_image(header)} has no usable {keyword}.") from error
    if value.shape != (count,) or not np.isfinite(value).all():
        raise SeriesError(
            f"{describe_image(header)} has no usable {keyword}: found {value.tolist()}."
        )
    return value


def describe_image(header: Dataset) -> str:
    """Return words for one image or frame: its number in the series, or else its UID."""
    number = header.get("InstanceNumber")
    image = f"Image {number}" if number is not None else f"The image {header.get('SOPInstanceUID')}"
    frame = getattr(header, "frame_number", None)
    return image if frame is None else f"Frame {frame} of {image[0].lower()}{image[1:]}"


def stack_slices(headers: Sequence[Dataset]) -> Stack:
    """Check that the images are the evenly spaced slices of one volume, and put them in order.

    Slices that are nearest to axial are put in order from feet to head, others along their normal
    (row direction x column direction). Instance Number and Slice Location are not used: both may be
    wrong (PS3.3 C.7.6.2.1.1).

    Raises
    ------
    SeriesError
        If they are not. The message names images and positions, in mm along the slice normal. For
        axial slices that is z.
    """
    positions = _positions(headers)
    # sorted, so that messages do not depend on the names of files
    by_position = [headers[i] for i in np.lexsort(positions.T)]
    _check_grey_scale(by_position)
    for keyword, words in MUST_AGREE.items():
        _check_agreement(by_position, keyword, words)
    axes = _common_values(by_position, "ImageOrientationPatient", 6, 1e-4, "orientations")
    axes = axes.reshape(2, 3)
    pixel = _common_values(by_position, "PixelSpacing", 2, 1e-4, "pixel spacings")
    if abs(axes @ axes.T - np.eye(2)).max() > 1e-3 or pixel.min() <= 0:
        raise SeriesError(
            f"{describe_image(headers[0])}: its rows and columns are not at right angles, "
            f"or have no size."
        )

    normal = np.cross(axes[0], axes[1])
    normal /= np.linalg.norm(normal)
    if nearest_plane(normal) == "axial" and normal[2] < 0:
        normal = -normal
    heights = positions @ normal
    order = np.argsort(heights, kind="stable").tolist()
    ordered = [headers[i] for i in order]
    _check_acquisitions(ordered, heights[order])
    _check_steps(ordered, heights[order])
    step = _straight_step(ordered, positions[order], normal)

    affine = np.eye(4)
    affine[:3, 0] = step
    # Pixel Spacing holds the distance between rows first (PS3.3 10.7.1.3)
    affine[:3, 1] = axes[1] * pixel[0]
    affine[:3, 2] = axes[0] * pixel[1]
    affine[:3, 3] = positions[order[0]]
    return Stack(order, (float(np.linalg.norm(step)), float(pixel[0]), float(pixel[1])), affine)


def nearest_plane(normal: np.ndarray) -> str:
    """Return "sagittal", "coronal" or "axial": the plane of slices with this normal in LPS."""
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]


def axis_directions(affine: np.ndarray) -> np.ndarray:
    """Return the directions of the axes of a volume as unit vectors in LPS.

    Parameters
    ----------
    affine : array (4, 4)
        Maps (slice, row, column, 1) to LPS mm.

    Returns
    -------
    array of float, shape (3, 3)
        Its columns belong to the slice, row and column axis, its rows to x, y and z.
    """
    vectors = np.asarray(affine, float)[:3, :3]
    return vectors / np.linalg.norm(vectors, axis=0)


def _positions(headers: Sequence[Dataset]) -> np.ndarray:
    """Return the position of the first pixel of each image, shape (images, 3), in LPS mm."""
    found, errors = [], []
    for header in headers:
        try:
            found.append(read_numbers(header, "ImagePositionPatient", 3))
        except SeriesError as error:
            errors.append(str(error))
    if errors:
        message = min(errors)
        if len(errors) > 1:
            message += f" The same holds for {len(errors)} of {len(headers)} images."
        raise SeriesError(message)
    return np.array(found)


def _check_grey_scale(headers: Sequence[Dataset]) -> None:
    """Refuse inverted grey scales: no header says whether the stored values are inverted, too."""
    odd = [header for header in headers if header.get("PhotometricInterpretation") != "MONOCHROME2"]
    if odd:
        raise SeriesError(
            f"{_describe_images(odd)}: Photometric Interpretation is "
            f"{odd[0].get('PhotometricInterpretation', 'not given')}; CT needs MONOCHROME2."
        )


def _check_agreement(headers: Sequence[Dataset], keyword: str, words: str) -> None:
    values: dict[str, list[Dataset]] = {}
    for header in headers:
        try:
            values.setdefault(str(header.get(keyword, "")), []).append(header)
        # pydicom converts a value at its first use, and raises many kinds of errors
        except Exception as error:
            raise SeriesError(f"{describe_image(header)} has no usable {keyword}.") from error
    if len(values) > 1:
        groups = "; ".join(map(_describe_images, values.values()))
        raise SeriesError(f"The series mixes {len(values)} {words}: {groups}.")
    if not next(iter(values)) and keyword != "PatientID":  # type 2: it may be empty
        raise SeriesError(f"{describe_image(headers[0])} has no {keyword}.")


def _common_values(
    headers: Sequence[Dataset], keyword: str, count: int, tolerance: float, words: str
) -> np.ndarray:
    values = np.array([read_numbers(header, keyword, count) for header in headers])
    odd = np.flatnonzero(np.abs(values - values[0]).max(axis=1) > tolerance)
    if odd.size:
        raise SeriesError(
            f"The series mixes {words}: {_describe_place(headers[0])} has {values[0].tolist()}, "
            f"{_describe_place(headers[odd[0]])} has {values[odd[0]].tolist()} "
            f"({odd.size} of {len(headers)} differ)."
        )
    return values[0]


def _describe_images(headers: Sequence[Dataset]) -> str:
    """Return the number of images, and the first and last of them."""
    ends = _describe_place(headers[0])
    if len(headers) > 1:
        ends += f" to {_describe_place(headers[-1])}"
    return f"{len(headers)} image{'s' * (len(headers) > 1)}, {ends}"


def _describe_place(header: Dataset, height: float | None = None) -> str:
    """Return an image and its height along the slice normal; without a height, its position."""
    if height is not None:
        return f"{describe_image(header)} at {height:.2f} mm"
    position = header.get("ImagePositionPatient") or ["nowhere"]
    return f"{describe_image(header)} at ({', '.join(map(str, position))}) mm"


def _check_acquisitions(ordered: Sequence[Dataset], heights: np.ndarray) -> None:
    """Refuse scans that overlap; scans that follow each other along the body are one volume."""
    ranges: dict[str, list[float]] = {}
    for header, height in zip(ordered, heights.tolist(), strict=True):
        ranges.setdefault(str(header.get("AcquisitionNumber") or ""), []).append(height)
    spans = sorted((values[0], values[-1], number) for number, values in ranges.items())
    for (low, high, first), (start, end, second) in zip(spans, spans[1:], strict=False):
        if start <= high:
            raise SeriesError(
                f"The series holds two acquisitions that overlap: "
                f"number {first or 'not given'} from {low:.2f} to {high:.2f} mm, "
                f"number {second or 'not given'} from {start:.2f} to {end:.2f} mm. "
                f"Ask for one of them as a series of its own."
            )


def _check_steps(ordered: Sequence[Dataset], heights: np.ndarray) -> None:
    """Refuse duplicates, gaps and uneven steps."""
    steps = np.diff(heights)
    twins = np.flatnonzero(steps <= POSITION_TOLERANCE_MM)
    if twins.size:
        pairs = "; ".join(
            f"{_describe_place(ordered[i], heights[i])} and "
            f"{_describe_place(ordered[i + 1], heights[i + 1])}"
            for i in twins[:3]
        )
        raise SeriesError(f"{twins.size} position(s) hold more than one image: {pairs}.")
    usual = float(np.median(steps))
    far = np.flatnonzero(np.abs(steps - usual) > 2 * POSITION_TOLERANCE_MM)
    if not far.size:
        return
    gaps = [i for i in far if round(steps[i] / usual) >= 2 and _is_multiple(steps[i], usual)]
    if len(gaps) == len(far):
        places = "; ".join(
            f"about {round(steps[i] / usual) - 1} after {_describe_place(ordered[i], heights[i])}, "
            f"before {_describe_place(ordered[i + 1], heights[i + 1])}"
            for i in gaps[:3]
        )
        raise SeriesError(
            f"Slices are missing (they are {usual:.2f} mm apart elsewhere): {places}."
        )
    i = far[0]
    raise SeriesError(
        f"The slices are not evenly spaced: {steps.min():.2f} to {steps.max():.2f} mm apart, "
        f"mostly {usual:.2f} mm, but {steps[i]:.2f} mm between "
        f"{_describe_place(ordered[i], heights[i])} and "
        f"{_describe_place(ordered[i + 1], heights[i + 1])}."
    )


def _is_multiple(step: float, usual: float) -> bool:
    return abs(step - round(step / usual) * usual) <= 2 * POSITION_TOLERANCE_MM


def _straight_step(
    ordered: Sequence[Dataset], positions: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """Return the vector in mm from one slice to the next; refuse a stack where it changes."""
    count = len(positions)
    step = (positions[-1] - positions[0]) / (count - 1)
    cosine = np.clip(step @ normal / np.linalg.norm(step), -1, 1)
    angle = float(np.degrees(np.arccos(cosine)))
    if angle > TILT_TOLERANCE_DEGREES:
        raise SeriesError(
            f"The stack is slanted by {angle:.2f} degrees (gantry tilt): "
            f"{_describe_place(ordered[-1])} does not lie straight above "
            f"{_describe_place(ordered[0])}. It would have to be resampled first."
        )
    errors = np.linalg.norm(positions - positions[0] - np.arange(count)[:, None] * step, axis=1)
    worst = int(np.argmax(errors))
    if errors[worst] > np.sqrt(3) * POSITION_TOLERANCE_MM:
        raise SeriesError(
            f"{_describe_place(ordered[worst], float(positions[worst] @ normal))} "
            f"is {errors[worst]:.2f} mm away from where even spacing puts it."
        )
    return step
