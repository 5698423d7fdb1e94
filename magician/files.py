"""DICOM files, each named by its SOP Instance UID and written whole or not at all (PS3.10).

A file of another origin may be cut short; `read_whole` refuses such a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import config, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_dataset, read_preamble
from pydicom.uid import UID

KEEP_FREE_BYTES = 64 * 1024**2  # a full disk stops other programs too
# Where the pixels of an image are; the last is the address of a server that has them (PS3.3
# C.7.6.3.1)
PIXEL_KEYWORDS = (
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "PixelDataProviderURL",
)
# Images whose class is not called "... Image Storage" (PS3.3 A.51, A.59, A.67, A.73, A.75, A.84)
OTHER_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.66.8",  # Height Map Segmentation
    "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US Volume
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.81.1",  # Ophthalmic Thickness Map
    "1.2.840.10008.5.1.4.1.1.82.1",  # Corneal Topography Map
    "1.2.840.10008.5.1.4.1.1.77.1.5.8",  # Ophthalmic OCT B-scan Volume Analysis
}
# JPIP Referenced Deflate and JPIP HTJ2K Referenced Deflate: pydicom does not inflate them
JPIP_DEFLATED = {"1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"  # has pixels only if it has a grid (PS3.3 A.18.3)
# Samples a pixel where SamplesPerPixel does not tell them: chrominance is shared by neighbours
SHARED_SAMPLES = {"YBR_FULL_422": 2, "YBR_PARTIAL_422": 2, "YBR_PARTIAL_420": 1.5}
TEMPORARY_SUFFIX = ".part"
LEFT_OVER_S = 3600  # no writer takes so long for one file
FILE_META_GROUP = 0x0002
PIXEL_DATA = 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF  # a delimiter ends the element instead (PS3.5 7.1.1)


def is_uid(text: str) -> bool:
    """Tell whether `text` is a UID: 1 to 64 digits and dots (PS3.5 9.1).

    A UID is safe as a file name.
    """
    return re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) is not None and len(text) <= 64


def instance_path(folder: Path, sop_instance_uid: str) -> Path:
    """Return the path of an instance in `folder`.

    Raises
    ------
    ValueError
        If `sop_instance_uid` is not a UID, and so is no safe file name.
    """
    if not is_uid(sop_instance_uid):
        raise ValueError(
            f"{sop_instance_uid!r} is not a UID (PS3.5 9.1), so it can't become a file name."
        )
    return folder / f"{sop_instance_uid}.dcm"


def is_temporary(path: Path) -> bool:
    """Tell whether this package writes the file now, or wrote it until the program was killed."""
    return path.name.startswith(".") and path.suffix == TEMPORARY_SUFFIX


def open_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder for files if it does not exist, and return its path.

    Temporary files that killed programs have left in it are removed. Those younger than
    `LEFT_OVER_S` stay, since another program may be writing them. They are hidden, and no reader of
    this package takes them for results.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):  # another user's file, or one that is gone by now
            if time.time() - path.stat().st_mtime > LEFT_OVER_S:
                path.unlink()
    return folder


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it appears under its name at the end of the block, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=TEMPORARY_SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:  # an interrupt too
        Path(temporary).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears under its name complete, or not at all.

    The file is not forced onto the disk: that would take longer than a transfer. After a power cut
    it may be empty, and `read_whole` refuses it.

    Raises
    ------
    OSError
        If the file can't be written; ENOSPC also if less than `KEEP_FREE_BYTES` would be left on
        the disk.
    """
    free = shutil.disk_usage(path.parent).free
    if free < len(content) + KEEP_FREE_BYTES:
        raise OSError(
            errno.ENOSPC, f"No space left: {free // 1024**2} MB are free", str(path.parent)
        )
    with whole_file(path) as file:
        file.write(content)


def save_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write a data set as ``<SOPInstanceUID>.dcm``, with complete file meta information (PS3.10
    7.1), and return its path.
    """
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    path = instance_path(folder, dataset.SOPInstanceUID)
    write_whole(path, buffer.getvalue())
    return path


class QuotaExceeded(OSError):
    """A folder takes no further object; the message says which limit it has reached."""


class StorageQuota:
    """How much more a listener may keep in a folder; safe to use from several threads.

    Parameters
    ----------
    folder : Path
        It must exist. What lies in it already counts.
    instances, total_bytes : int
        How many instances, and how many bytes, the folder may hold.
    """

    def __init__(self, folder: Path, *, instances: int, total_bytes: int) -> None:
        self._most_instances, self._most_bytes = instances, total_bytes
        sizes = [path.stat().st_size for path in folder.glob("*.dcm")]
        self._instances, self._bytes = len(sizes), sum(sizes)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Count one more object of `size` bytes, which the ``with`` block writes.

        The object is not counted if the block ends with an `OSError`.

        Raises
        ------
        QuotaExceeded
            If the folder has no room for the object.
        """
        self._take(size)
        try:
            yield
        except OSError:
            self._give_back(size)
            raise

    def _take(self, size: int) -> None:
        with self._lock:
            if self._instances >= self._most_instances:
                raise QuotaExceeded(
                    f"the folder holds {self._instances} instances, and its limit is "
                    f"{self._most_instances} (instances)"
                )
            if self._bytes + size > self._most_bytes:
                raise QuotaExceeded(
                    f"the folder holds {self._bytes} bytes, and {size} more would exceed "
                    f"{self._most_bytes} (total_bytes)"
                )
            self._instances += 1
            self._bytes += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._instances -= 1
            self._bytes -= size


def read_whole(path: Path) -> Dataset:
    """Read a DICOM file, and refuse one that is cut short.

    Of such a file pydicom's `dcmread` returns what is left. The file is read from the disk once.

    Returns
    -------
    Dataset
        As from `dcmread`: with its ``file_meta``.

    Raises
    ------
    EOFError
        If an element ends before its length, or an image has no pixels.
    Exception
        Whatever pydicom raises for a file that is not DICOM.
    """
    content = path.read_bytes()
    buffer = BytesIO(content)
    read_preamble(buffer, force=False)
    meta = read_dataset(
        buffer,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != FILE_META_GROUP,
    )
    parse_whole(content[buffer.tell() :], meta.TransferSyntaxUID, str(path))
    return dcmread(BytesIO(content))


def parse_whole(content: bytes, syntax: UID, name: str) -> Dataset:
    """Read an encoded data set, and refuse one that is cut short.

    Parameters
    ----------
    content : bytes
        The data set, without preamble and file meta information.
    syntax : UID
        Its transfer syntax.
    name : str
        What an error calls the data set.

    Raises
    ------
    EOFError
        If an element ends before its length, or an image has no pixels.
    Exception
        Whatever pydicom raises for bytes that are not a data set.
    """
    if syntax in JPIP_DEFLATED:
        raise ValueError(f"{name} is encoded as {syntax.name}, which can't be read here.")
    if syntax.is_deflated:
        content = zlib.decompress(content, -zlib.MAX_WBITS)
    buffer, elements, end = BytesIO(content), {}, 0
    for element in data_element_generator(buffer, syntax.is_implicit_VR, syntax.is_little_endian):
        if isinstance(element, RawDataElement) and element.length != UNDEFINED_LENGTH:
            lacking = element.length - len(element.value or b"")
            # the last byte of pixels may be padding; whether it is, their number tells
            if lacking > 1 or (lacking and element.tag != PIXEL_DATA):
                raise EOFError(f"{name} ends in the middle of {element.tag}.")
        elements[element.tag], end = element, buffer.tell()
    dataset = Dataset(elements)
    if content[end:].strip(b"\0"):  # zeros are padding: no element begins with them
        raise EOFError(f"{name} ends in the middle of an element.")
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS) and _must_have_pixels(dataset):
        raise EOFError(f"{name} ends before the pixels of its image.")
    if "PixelData" in dataset and not syntax.is_encapsulated:
        found, expected = len(dataset.PixelData or b""), _pixel_bytes(dataset)
        if found < expected:
            raise EOFError(f"{name} holds {found} bytes of pixels; its attributes say {expected}.")
    return dataset


def _must_have_pixels(dataset: Dataset) -> bool:
    """Tell whether a data set without pixels was cut short: an image by its SOP class.

    Rows (0028,0010) alone do not make an image: MR Spectroscopy has them (PS3.3 A.36.3), and so do
    private classes.
    """
    sop_class = UID(_text(dataset, "SOPClassUID"), config.IGNORE)
    if _text(dataset, "NumberOfFrames").strip() == "0":
        return False
    if sop_class == RT_DOSE:
        return "Rows" in dataset
    return "Image Storage" in sop_class.name or sop_class in OTHER_IMAGES


def _text(dataset: Dataset, keyword: str) -> str:
    """Return the text of an element as it was read; pydicom warns of one that breaks a rule."""
    value = getattr(dataset.get_item(keyword), "value", None)
    return value.decode("latin_1").rstrip(" \0") if isinstance(value, bytes) else ""


def _pixel_bytes(image: Dataset) -> int:
    """Return the least length of uncompressed pixel data in bytes (PS3.3 C.7.6.3.1).

    It is 0 if the attributes don't tell it.
    """
    try:
        frames = image.get("NumberOfFrames")
        pixels = int(image.Rows) * int(image.Columns) * int(1 if frames is None else frames)
        shared = SHARED_SAMPLES.get(image.PhotometricInterpretation)
        if shared:
            return int(pixels * shared) * int(image.BitsAllocated) // 8
        return (pixels * int(image.SamplesPerPixel) * int(image.BitsAllocated) + 7) // 8
    except (AttributeError, TypeError, ValueError):
        return 0
