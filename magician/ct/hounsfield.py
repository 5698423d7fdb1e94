"""From the stored pixels of one slice to Hounsfield units; a part of :mod:`magician.ct.volume`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from magician.ct.geometry import name, numbers
from magician.errors import SeriesError

AIR_HU = -1024.0  # what stands for pixels outside the reconstructed field of view


def read_whole(path: Path) -> Dataset:
    """Read a file with its pixel data, still encoded."""
    try:
        return dcmread(path)
    except Exception as error:  # whatever pydicom says about a damaged file
        raise SeriesError(f"The file {path} can't be read: {error}") from error


def decode(image: Dataset | Path, header: Dataset, path: Path) -> np.ndarray:
    """Return one slice in HU, float32 (rows, columns).

    Parameters
    ----------
    image : Dataset or path
        What holds the pixel data. From a path, only the one slice is read.
    header : Dataset
        What describes this slice: the image itself, or one of its frames
        (:mod:`magician.ct.multiframe`).
    path : Path
        The file of the image, for messages.
    """
    if isinstance(image, Dataset) and "PixelData" not in image:
        raise SeriesError(f"{name(header)} has no pixel data; its file {path} may be cut short.")
    slope, intercept = _rescale(header)
    frame = getattr(header, "frame_number", None)
    try:
        raw = pixel_array(
            image, index=None if frame is None else frame - 1, correct_unused_bits=False
        )
        padding = _padding(header, raw)
        plain = raw.ndim == 2 and header.HighBit == header.BitsStored - 1
    except Exception as error:  # decoders raise what they like about damaged or unknown pixel data
        raise SeriesError(
            f"The pixel data of {name(header)} ({path}) can't be decoded: {error}"
        ) from error
    if not plain:
        raise SeriesError(f"{name(header)} ({path}) is not a plain single-frame CT image.")
    # Bits above the stored ones are not part of the value (PS3.5 8.1.1); shifting up and down
    # repeats the sign.
    unused = header.BitsAllocated - header.BitsStored
    stored = raw << unused >> unused
    hu = (stored * slope + intercept).astype(np.float32)
    if padding is not None:
        hu[padding] = AIR_HU
    return hu


def _rescale(header: Dataset) -> tuple[float, float]:
    """Return slope and intercept in double precision, as far as the values are Hounsfield units."""
    if header.get("RescaleType", "HU") not in ("HU", "US", "", None):
        raise SeriesError(
            f"{name(header)} holds {header.RescaleType} and not Hounsfield units (Rescale Type)."
        )
    slope = float(numbers(header, "RescaleSlope", 1)[0])
    if slope == 0:
        raise SeriesError(f"{name(header)} has Rescale Slope 0.")
    return slope, float(numbers(header, "RescaleIntercept", 1)[0])


def _padding(header: Dataset, raw: np.ndarray) -> np.ndarray | None:
    """Return which stored values the header declares as padding, or None."""
    if header.get("PixelPaddingValue") is None:
        return None
    # Some headers give a negative value as unsigned, 63536 for -2000: read its bits as the pixels
    # are.
    low = high = np.array(int(header.PixelPaddingValue)).astype(raw.dtype)
    if header.get("PixelPaddingRangeLimit") is not None:
        limit = np.array(int(header.PixelPaddingRangeLimit)).astype(raw.dtype)
        low, high = min(low, limit), max(low, limit)
    return (raw >= low) & (raw <= high)
