"""From a stored object to a picture that a browser shows; a part of :mod:`magician.web.page`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import pixel_array
from pydicom.uid import CTImageStorage, RLELossless, SegmentationStorage

from magician.ct.geometry import read_numbers
from magician.ct.hounsfield import decode_slice
from magician.errors import SeriesError
from magician.rendering.orientation import patient_orientation
from magician.rendering.windowing import PRESETS, window

# Whoever may send to a PACS chooses what is decoded here
MOST_BYTES = 64 * 1024**2
MOST_PIXELS = 4096 * 4096
THUMBNAIL = 160  # pixels, the longer side
WINDOWS = {name.replace(" ", "-"): values for name, values in PRESETS.items()}
_HOW_IT_LIES = ["ImagePositionPatient", "ImageOrientationPatient", "PatientOrientation"]
_OPPOSITE = str.maketrans("RLAPFH", "LRPAHF")
_SIZE_OF_JPEG = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]", re.DOTALL)


class NoPicture(Exception):
    """An object that can't be shown; the message is a sentence for a learner."""


def why_no_picture(held: dict[str, str]) -> str:
    """Say why an object is none that can be shown, as far as the index knows; empty if it may be
    one.
    """
    if held["SOPClassUID"] == SegmentationStorage:
        return "A mask, which has no picture of its own: see it in the overlay series."
    if not held["Rows"]:
        return "No picture: this object holds text and numbers."
    if held["NumberOfFrames"] not in ("", "1"):
        return "Several frames in one object, which this page does not show."
    return ""


def show(
    held: dict[str, str], center_and_width: tuple[float, float] | None, *, thumbnail: bool = False
) -> Image.Image:
    """Make the picture of one object.

    Parameters
    ----------
    held : dict
        What the index of the PACS knows of it.
    center_and_width : tuple of float, optional
        The window of a CT, in HU. Left out, and for all other grey images, it is the first that the
        image itself names (PS3.3 C.11.2.1.2), else a preset for CT, and from the darkest to the
        brightest pixel for others.
    thumbnail : bool
        Whether its longer side is cut down to `THUMBNAIL` pixels.

    Returns
    -------
    PIL.Image.Image
        Grey or RGB, with square pixels.

    Raises
    ------
    NoPicture
        If the object holds none, a damaged or an oversized one.
    """
    if why := why_no_picture(held):
        raise NoPicture(why)
    try:
        image = _read(Path(held["path"]))
        pixels = _colours(image) if image.SamplesPerPixel == 3 else _greys(image, center_and_width)
        picture = _with_square_pixels(Image.fromarray(pixels), image)
    except NoPicture:
        raise
    # pydicom and the decoders raise what they like about damaged objects
    except Exception as error:
        raise NoPicture(
            "This object is damaged, or of a kind that this page does not show."
        ) from error
    if thumbnail:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture


def encode(picture: Image.Image, kind: str) -> bytes:
    """Return the bytes of a picture as ``jpg`` (small) or ``png`` (exact)."""
    content = BytesIO()
    if kind == "png":
        picture.save(content, "PNG", compress_level=1)
    else:
        picture.save(content, "JPEG", quality=90, subsampling=0)  # or a thin coloured outline fades
    return content.getvalue()


def tile(why: str) -> bytes:
    """A picture, in SVG, that says why there is none."""
    words, lines = why.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 24:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    text = Markup().join(
        Markup('<text x="128" y="{}" text-anchor="middle">{}</text>').format(
            128 + 22 * (i - len(lines) / 2), line
        )
        for i, line in enumerate(lines)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" font-family="sans-serif" font-size="16" '
        'fill="#fff"><rect width="256" height="256" fill="#333"/>{}</svg>'
    ).format(text).encode()  # fmt: skip


@dataclass(frozen=True)
class Arrangement:
    """How the images of one series lie.

    Attributes
    ----------
    order : tuple of int
        Their indices along the slice normal, from feet to head if they are axial; in order of their
        numbers if they do not lie in one direction.
    letters : tuple of tuple of str
        Of each of them, which side of the patient is at its left, right and upper edge; empty if
        that is not known.
    """

    order: tuple[int, ...]
    letters: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=64)
def arrange(paths: tuple[str, ...]) -> Arrangement:
    """Find out how the images of one series lie, from their headers."""
    as_numbered = tuple(range(len(paths)))
    try:
        for path in paths:
            _refuse_deflated(Path(path))
        headers = [
            dcmread(path, stop_before_pixels=True, specific_tags=_HOW_IT_LIES) for path in paths
        ]
        letters = tuple(map(_edges, headers))
    except Exception:  # damaged
        return Arrangement(as_numbered, ((),) * len(paths))
    try:
        directions = np.array(
            [read_numbers(header, "ImageOrientationPatient", 6) for header in headers]
        )
        positions = np.array(
            [read_numbers(header, "ImagePositionPatient", 3) for header in headers]
        )
    except Exception:  # without positions, or damaged
        return Arrangement(as_numbered, letters)
    if np.ptp(directions, axis=0).max() > 1e-3:
        return Arrangement(as_numbered, letters)
    along = positions @ np.cross(directions[0, :3], directions[0, 3:])
    return Arrangement(tuple(np.argsort(along, kind="stable").tolist()), letters)


def _edges(header: Dataset) -> tuple[str, ...]:
    """Letters of the left, right and upper edge; empty if the header does not tell (PS3.3
    C.7.6.1.1.1).

    At the lower edge an overlay has its strip of text.
    """
    if "ImageOrientationPatient" in header:
        towards = patient_orientation(header)
    else:
        towards = header.get("PatientOrientation") or ()
    if (
        isinstance(towards, str)
        or len(towards) != 2
        or not all(re.fullmatch("[RLAPFH]{1,3}", one) for one in towards)
    ):
        return ()
    right, lower = towards
    return right.translate(_OPPOSITE), right, lower.translate(_OPPOSITE)


def _read(path: Path) -> Dataset:
    """Read an image, and refuse it before it is decoded if that would take much more memory than a
    picture.
    """
    too_large = NoPicture("This object is larger than this page shows.")
    if path.stat().st_size > MOST_BYTES:
        raise too_large
    _refuse_deflated(path)
    image = dcmread(path)
    sizes = [(image.Rows, image.Columns)]
    if image.file_meta.TransferSyntaxUID.is_compressed:
        frame = get_frame(image.PixelData, 0, number_of_frames=1)
        if image.file_meta.TransferSyntaxUID == RLELossless:
            bytes_of_all = (
                image.Rows * image.Columns * image.SamplesPerPixel * image.BitsAllocated // 8
            )
            # noise takes 1.01 bytes for each byte; 2 can stand for 128
            if len(frame) > 2 * bytes_of_all + 1024:
                raise too_large
        else:
            sizes += _coded_sizes(frame)
    if any(rows * columns > MOST_PIXELS for rows, columns in sizes):
        raise too_large
    return image


def _refuse_deflated(path: Path) -> None:
    """A deflated data set can become a thousand times larger, and pydicom inflates all of it to
    read any of it.
    """
    if read_file_meta_info(path).TransferSyntaxUID.is_deflated:
        raise NoPicture("A deflated object, which this page does not show.")


def _coded_sizes(frame: bytes) -> list[tuple[int, int]]:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream claims; a decoder makes room
    for so many.
    """
    start = frame.find(b"\xff\x4f\xff\x51")  # JPEG 2000: start of code stream, SIZ
    if start >= 0:
        columns, rows = (int.from_bytes(frame[start + i : start + i + 4]) for i in (8, 12))
        return [(rows, columns)]
    sizes, at = [], 2
    # segments, as far as the first scan
    while frame[at : at + 1] == b"\xff" and frame[at + 1 : at + 2] != b"\xda":
        if _SIZE_OF_JPEG.match(frame, at):
            sizes.append(
                (int.from_bytes(frame[at + 5 : at + 7]), int.from_bytes(frame[at + 7 : at + 9]))
            )
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    return sizes


def _colours(image: Dataset) -> np.ndarray:
    """Return an RGB picture, uint8 (rows, columns, 3)."""
    pixels = pixel_array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise NoPicture("Colours of more than 8 bits, which this page does not show.")
    return pixels


def _greys(image: Dataset, center_and_width: tuple[float, float] | None) -> np.ndarray:
    """Return a grey picture, uint8 (rows, columns)."""
    values = decode_slice(image, image, Path(image.filename))
    is_ct = image.SOPClassUID == CTImageStorage
    if not is_ct or center_and_width is None:
        center_and_width = _own_window(image) or (
            PRESETS["soft tissue"] if is_ct else _whole_range(values)
        )
    greys = window(values, *center_and_width)
    return 255 - greys if image.PhotometricInterpretation == "MONOCHROME1" else greys


def _own_window(image: Dataset) -> tuple[float, float] | None:
    """The first window that an image names, if it names one."""
    try:
        center, width = (
            float(np.atleast_1d(image[k].value)[0]) for k in ("WindowCenter", "WindowWidth")
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return (center, width) if np.isfinite(center) and np.isfinite(width) and width >= 1 else None


def _whole_range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low + high + 1) / 2, high - low + 1


def _with_square_pixels(picture: Image.Image, image: Dataset) -> Image.Image:
    """Stretch the shorter side of a picture whose pixels are not square, so that circles stay
    round.
    """
    try:
        row_mm, column_mm = read_numbers(image, "PixelSpacing", 2)
    except SeriesError:
        return picture
    ratio = row_mm / column_mm if min(row_mm, column_mm) > 0 else 1
    if not 0.1 < ratio < 10 or abs(ratio - 1) < 0.01:
        return picture
    columns, rows = picture.size
    size = (columns, round(rows * ratio)) if ratio > 1 else (round(columns / ratio), rows)
    if size[0] * size[1] > MOST_PIXELS:
        raise NoPicture("This object is larger than this page shows.")
    return picture.resize(size)
