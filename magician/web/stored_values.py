"""Grey levels and colours of images that hold no Hounsfield units: MR, radiographs, ultrasound,
Secondary Capture (PS3.3 C.7.6.3, C.11.1 and C.11.2).
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
from pydicom.uid import CTImageStorage

from magician.rendering.windowing import window


def has_hounsfield_units(header: Dataset) -> bool:
    """Tell whether an image is a CT whose values can be rescaled to HU."""
    return (
        header.get("SOPClassUID") == CTImageStorage
        and header.get("RescaleSlope") is not None
        and header.get("RescaleType") in ("HU", "US", "", None)
    )


def draw_greys(image: Dataset) -> np.ndarray:
    """Return a grey picture, uint8 (rows, columns), where 0 is black.

    It goes through the image's first VOI LUT, else through its first window, else from its darkest
    to its brightest pixel, padding aside.
    """
    stored = _stored_values(image)
    values = _rescale(stored, image)
    if image.get("VOILUTSequence"):
        lut = apply_voi(np.rint(values).astype(np.int64), image)
        greys = lut * (255 / (2 ** int(image.VOILUTSequence[0].LUTDescriptor[2]) - 1))
    elif own := own_window(image):
        greys = _through_window(values, own, str(image.get("VOILUTFunction") or "LINEAR"))
    else:
        greys = _whole_range(values, _padding(image, stored))
    greys = np.clip(np.rint(greys), 0, 255).astype(np.uint8)
    return 255 - greys if image.PhotometricInterpretation == "MONOCHROME1" else greys


def draw_palette_colours(image: Dataset) -> np.ndarray:
    """Return the RGB picture of a PALETTE COLOR image, uint8 (rows, columns, 3)."""
    if "SegmentedRedPaletteColorLookupTableData" in image:
        raise ValueError("a few bytes of a segmented table can stand for millions (PS3.3 C.7.9.2)")
    colours = apply_color_lut(_stored_values(image), image)
    return (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)


def own_window(image: Dataset) -> tuple[float, float] | None:
    """Return the centre and width of the first window that an image names; None if it names none.

    The width of a LINEAR window is at least 1 (PS3.3 C.11.2.1.2.1), that of others more than 0.
    """
    try:
        center, width = (
            float(np.atleast_1d(image[keyword].value)[0])
            for keyword in ("WindowCenter", "WindowWidth")
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    is_linear = image.get("VOILUTFunction", "LINEAR") in ("LINEAR", "", None)
    fits = width >= 1 if is_linear else width > 0
    return (center, width) if np.isfinite(center) and np.isfinite(width) and fits else None


def _stored_values(image: Dataset) -> np.ndarray:
    """Return the stored values without the bits that are not theirs (PS3.5 8.1.1)."""
    raw = pixel_array(image, correct_unused_bits=False)
    if raw.dtype.kind == "f":  # Float Pixel Data has no unused bits
        return raw
    above = raw.dtype.itemsize * 8 - 1 - image.HighBit
    below = image.HighBit + 1 - image.BitsStored
    if above < 0 or below < 0:
        raise ValueError("bits outside of the pixel cell")
    # shifting up removes the bits above, shifting down repeats the sign
    return raw << above >> (above + below)


def _rescale(stored: np.ndarray, image: Dataset) -> np.ndarray:
    """Return the values after the Modality LUT or the rescaling, if the image has one."""
    if image.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, image)
    slope, intercept = image.get("RescaleSlope"), image.get("RescaleIntercept")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _through_window(values: np.ndarray, own: tuple[float, float], function: str) -> np.ndarray:
    center, width = own
    if function == "LINEAR_EXACT":
        return ((values - center) / width + 0.5) * 255
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    return window(values, center, width)


def _whole_range(values: np.ndarray, padding: np.ndarray) -> np.ndarray:
    shown = values[~padding & np.isfinite(values)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    return (np.nan_to_num(values) - low) * (255 / (high - low) if high > low else 0)


def _padding(image: Dataset, stored: np.ndarray) -> np.ndarray:
    """Return True for each stored value that the image declares as padding (PS3.3 C.7.5.1.1.2)."""
    value = image.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = image.get("PixelPaddingRangeLimit")
    # some headers give a negative value as unsigned: its bits are read in the type of the pixels
    low, high = (
        np.array(int(end)).astype(stored.dtype)
        for end in (value, value if limit is None else limit)
    )
    return (stored >= min(low, high)) & (stored <= max(low, high))
