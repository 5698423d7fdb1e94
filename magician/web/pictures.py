"""The picture of a stored object, as a browser shows it: grey or RGB, with square pixels.

Whoever may send to a PACS chooses what is decoded here, so all sizes have a bound.
"""

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
from pydicom.uid import MRSpectroscopyStorage, RLELossless, SegmentationStorage

from magician.ct.geometry import read_numbers
from magician.ct.hounsfield import decode_slice
from magician.errors import SeriesError
from magician.rendering.orientation import patient_orientation
from magician.rendering.windowing import PRESETS, window
from magician.web.stored_values import (
    draw_greys,
    draw_palette_colours,
    has_hounsfield_units,
    own_window,
)

MOST_BYTES = 64 * 1024**2
MOST_PIXELS = 4096 * 4096
THUMBNAIL = 160  # pixels, the longer side
WINDOWS = {name.replace(" ", "-"): values for name, values in PRESETS.items()}
ARRANGED_BY = [
    "ImagePositionPatient", "ImageOrientationPatient", "PatientOrientation", "SOPClassUID",
    "RescaleSlope", "RescaleType",
]  # fmt: skip
OPPOSITE = str.maketrans("RLAPFH", "LRPAHF")
# The markers of the segments that hold the size: SOF of JPEG, SOF55 of JPEG-LS
JPEG_SIZE_MARKER = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]", re.DOTALL)


class NoPicture(Exception):
    """An object that can't be shown; the message is a sentence for a learner."""


def why_no_picture(held: dict[str, str]) -> str:
    """Say why an object has no picture, as far as the index can tell; empty if it may have one."""
    if held["SOPClassUID"] == SegmentationStorage:
        return "A mask, which has no picture of its own: see it in the overlay series."
    if held["SOPClassUID"] == MRSpectroscopyStorage:
        return "Spectra, which have no picture."
    if not held["Rows"]:
        return "No picture: this object holds text and numbers."
    if held["NumberOfFrames"] not in ("", "1"):
        return "Several frames in one object, which this page does not show."
    return ""


def make_picture(
    held: dict[str, str], center_and_width: tuple[float, float] | None, *, thumbnail: bool = False
) -> Image.Image:
    """Make the picture of one object.

    Parameters
    ----------
    held : dict
        What the index of the PACS knows of it.
    center_and_width : tuple of float, optional
        The window of a CT, in HU. Without it, the window is the first one that the image itself
        names (PS3.3 C.11.2.1.2), else a preset. All other grey images, and a CT that can't be
        rescaled to HU, are shown as they say themselves, else from their darkest to their brightest
        pixel.
    thumbnail : bool
        Whether its longer side is reduced to `THUMBNAIL` pixels.

    Returns
    -------
    PIL.Image.Image
        Grey or RGB, with square pixels.

    Raises
    ------
    NoPicture
        If the object has no picture, is damaged, or is too large.
    """
    if why := why_no_picture(held):
        raise NoPicture(why)
    try:
        image = _read_image(Path(held["path"]))
        picture = _with_square_pixels(Image.fromarray(_draw(image, center_and_width)), image)
    except NoPicture:
        raise
    except Exception as error:  # a damaged object can raise any error in pydicom and the decoders
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
        picture.save(content, "JPEG", quality=90, subsampling=0)  # keeps thin coloured outlines
    return content.getvalue()


def draw_tile(why: str) -> bytes:
    """Draw the tile, in SVG, that stands for a missing picture and says why it is missing."""
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
    svg = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" font-family="sans-serif" '
        'font-size="16" fill="#fff"><rect width="256" height="256" fill="#333"/>{}</svg>'
    )
    return svg.format(text).encode()


@dataclass(frozen=True)
class Arrangement:
    """The order of the images of one series, and the sides of the patient in each.

    Attributes
    ----------
    order : tuple of int
        The indices of the images along the slice normal, from feet to head if they are axial; in
        order of their numbers if they do not lie in one direction.
    letters : tuple of tuple of str
        For each image, the sides of the patient at its left, right and upper edge; empty if they
        are not known.
    in_hu : bool
        Whether all of them hold Hounsfield units.
    """

    order: tuple[int, ...]
    letters: tuple[tuple[str, ...], ...]
    in_hu: bool


@lru_cache(maxsize=64)
def arrange_images(paths: tuple[str, ...]) -> Arrangement:
    """Put the images of one series into order by their positions (PS3.3 C.7.6.2.1)."""
    as_numbered = tuple(range(len(paths)))
    try:
        for path in paths:
            _refuse_deflated(Path(path))
        headers = [
            dcmread(path, stop_before_pixels=True, specific_tags=ARRANGED_BY) for path in paths
        ]
        letters = tuple(map(_edge_letters, headers))
        in_hu = all(map(has_hounsfield_units, headers))
    except Exception:  # damaged
        return Arrangement(as_numbered, ((),) * len(paths), in_hu=True)
    try:
        directions = np.array(
            [read_numbers(header, "ImageOrientationPatient", 6) for header in headers]
        )
        positions = np.array(
            [read_numbers(header, "ImagePositionPatient", 3) for header in headers]
        )
    except Exception:  # without positions, or damaged
        return Arrangement(as_numbered, letters, in_hu)
    if np.ptp(directions, axis=0).max() > 1e-3:
        return Arrangement(as_numbered, letters, in_hu)
    distances = positions @ np.cross(directions[0, :3], directions[0, 3:])
    return Arrangement(tuple(np.argsort(distances, kind="stable").tolist()), letters, in_hu)


def _edge_letters(header: Dataset) -> tuple[str, ...]:
    """Return the letters of the left, right and upper edge (PS3.3 C.7.6.1.1.1); empty if the header
    does not tell.

    The lower edge has no letter: there an overlay has its strip of text.
    """
    if "ImageOrientationPatient" in header:
        orientation = patient_orientation(header)
    else:
        orientation = header.get("PatientOrientation") or ()
    if (
        isinstance(orientation, str)
        or len(orientation) != 2
        or not all(re.fullmatch("[RLAPFH]{1,3}", side) for side in orientation)
    ):
        return ()
    right, lower = orientation
    return right.translate(OPPOSITE), right, lower.translate(OPPOSITE)


def _read_image(path: Path) -> Dataset:
    """Read an image; raise `NoPicture` if decoding it would take too much memory."""
    too_large = NoPicture("This object is larger than this page shows.")
    if path.stat().st_size > MOST_BYTES:
        raise too_large
    _refuse_deflated(path)
    image = dcmread(path)
    if "PixelData" not in image and image.get("PixelDataProviderURL"):
        raise NoPicture("No picture: the pixels of this object lie at another server.")
    sizes = [(image.Rows, image.Columns)]
    if image.file_meta.TransferSyntaxUID.is_compressed:
        frame = get_frame(image.PixelData, 0, number_of_frames=1)
        if image.file_meta.TransferSyntaxUID == RLELossless:
            pixel_bytes = (
                image.Rows * image.Columns * image.SamplesPerPixel * image.BitsAllocated // 8
            )
            # noise needs 1.01 coded bytes for each byte; but 2 coded bytes can stand for 128
            if len(frame) > 2 * pixel_bytes + 1024:
                raise too_large
        else:
            sizes += _coded_sizes(frame)
    if any(rows * columns > MOST_PIXELS for rows, columns in sizes):
        raise too_large
    return image


def _refuse_deflated(path: Path) -> None:
    """Raise `NoPicture` for a deflated data set: it can become a thousand times larger, and pydicom
    inflates all of it to read any of it.
    """
    if read_file_meta_info(path).TransferSyntaxUID.is_deflated:
        raise NoPicture("A deflated object, which this page does not show.")


def _coded_sizes(frame: bytes) -> list[tuple[int, int]]:
    """Return the rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream claims: a decoder
    makes room for so many.
    """
    start = frame.find(b"\xff\x4f\xff\x51")  # JPEG 2000: start of code stream, SIZ
    if start >= 0:
        columns, rows = (int.from_bytes(frame[start + i : start + i + 4]) for i in (8, 12))
        return [(rows, columns)]
    sizes, position = [], 2
    # the segments before the first scan
    while (segment := frame[position : position + 9])[:1] == b"\xff" and segment[1:2] != b"\xda":
        if JPEG_SIZE_MARKER.match(segment):
            sizes.append((int.from_bytes(segment[5:7]), int.from_bytes(segment[7:9])))
        position += 2 + int.from_bytes(segment[2:4])
    return sizes


def _draw(image: Dataset, center_and_width: tuple[float, float] | None) -> np.ndarray:
    """Return the picture, uint8: (rows, columns) of greys, (rows, columns, 3) of colours."""
    if image.SamplesPerPixel == 3:
        return _colours(image)
    if image.PhotometricInterpretation == "PALETTE COLOR":
        return draw_palette_colours(image)
    if has_hounsfield_units(image):
        return _hounsfield_greys(image, center_and_width)
    return draw_greys(image)


def _colours(image: Dataset) -> np.ndarray:
    """Return an RGB picture, uint8 (rows, columns, 3)."""
    pixels = pixel_array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise NoPicture("Colours of more than 8 bits, which this page does not show.")
    return pixels


def _hounsfield_greys(image: Dataset, center_and_width: tuple[float, float] | None) -> np.ndarray:
    """Return the grey picture of a CT, uint8 (rows, columns)."""
    values = decode_slice(image, image, Path(image.filename))
    greys = window(values, *(center_and_width or own_window(image) or PRESETS["soft tissue"]))
    return 255 - greys if image.PhotometricInterpretation == "MONOCHROME1" else greys


def _with_square_pixels(picture: Image.Image, image: Dataset) -> Image.Image:
    """Stretch a picture so that its pixels are square, and circles stay round."""
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
