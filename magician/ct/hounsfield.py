"""Hounsfield units from the stored pixels of one slice (PS3.3 C.11.1.1.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from magician.ct.geometry import describe_image, read_numbers
from magician.errors import SeriesError

AIR_HU = -1024.0  # the value of pixels outside the reconstructed field of view


def read_image(path: Path) -> Dataset:
    """Read a file with its pixel data, still encoded.

    A file that is cut short may pass here; `decode_slice` refuses it, and names the slice.

    Raises
    ------
    SeriesError
        If the file can't be read.
    """
    try:
        return dcmread(path)
    except Exception as error:  # pydicom raises many kinds for a damaged file
        raise SeriesError(f"The file {path} can't be read: {error}") from error


def decode_slice(image: Dataset | Path, header: Dataset, path: Path) -> np.ndarray:
    """Return one slice in HU, float32 (rows, columns).

    Parameters
    ----------
    image : Dataset or path
        Holds the pixel data. From a path, only the one slice is read.
    header : Dataset
        Describes this slice: the image itself, or one of its frames (`magician.ct.multiframe`).
    path : Path
        The file of the image, for messages.

    Raises
    ------
    SeriesError
        If pixel data or rescaling are missing, can't be decoded, or give no Hounsfield units.
    """
    if isinstance(image, Dataset) and "PixelData" not in image:
        raise SeriesError(
            f"{describe_image(header)} has no pixel data; its file {path} may be cut short."
        )
    slope, intercept = _rescale(header)
    frame = getattr(header, "frame_number", None)
    try:
        raw = pixel_array(
            image, index=None if frame is None else frame - 1, correct_unused_bits=False
        )
        padding = _padding(header, raw)
        plain = raw.ndim == 2 and header.HighBit == header.BitsStored - 1
    except Exception as error:  # decoders raise many kinds for damaged pixels
        raise SeriesError(
            f"The pixel data of {describe_image(header)} ({path}) can't be decoded: {error}"
        ) from error
    if not plain:
        raise SeriesError(
            f"{describe_image(header)} ({path}) is not a plain single-frame CT image."
        )
    # Bits above the stored ones are not part of the value (PS3.5 8.1.1). Shifting up removes them,
    # shifting down repeats the sign.
    unused = header.BitsAllocated - header.BitsStored
    stored = raw << unused >> unused
    hu = (stored * slope + intercept).astype(np.float32)
    if padding is not None:
        hu[padding] = AIR_HU
    return hu


def _rescale(header: Dataset) -> tuple[float, float]:
    """Return slope and intercept in double precision; refuse values in another unit."""
    if header.get("RescaleType", "HU") not in ("HU", "US", "", None):
        raise SeriesError(
            f"{describe_image(header)} holds {header.RescaleType} and not Hounsfield units "
            f"(Rescale Type)."
        )
    slope = float(read_numbers(header, "RescaleSlope", 1)[0])
    if slope == 0:
        raise SeriesError(f"{describe_image(header)} has Rescale Slope 0.")
    return slope, float(read_numbers(header, "RescaleIntercept", 1)[0])


def _padding(header: Dataset, raw: np.ndarray) -> np.ndarray | None:
    """Return True for each stored value that the header declares as padding; None without padding.

    The declaration is Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2).
    """
    if header.get("PixelPaddingValue") is None:
        return None
    # Some headers give a negative value as unsigned, 63536 for -2000. Its bits are therefore read
    # in the type of the pixels.
    low = high = np.array(int(header.PixelPaddingValue)).astype(raw.dtype)
    if header.get("PixelPaddingRangeLimit") is not None:
        limit = np.array(int(header.PixelPaddingRangeLimit)).astype(raw.dtype)
        low, high = min(low, limit), max(low, limit)
    return (raw >= low) & (raw <= high)
