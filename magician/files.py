"""DICOM files by SOP Instance UID: safe names, each file whole or not at all, and telling whether
one is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.uid import UID
from pynetdicom.dsutils import split_dataset

KEEP_FREE_BYTES = 64 * 1024**2  # a disk that is full to its last byte stops more than us
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
TEMPORARY = ".part"
LEFT_OVER_S = 3600  # nobody writes one file for so long
UNDEFINED_LENGTH = 0xFFFFFFFF  # ended by a delimiter instead (PS3.5 7.1.1)


def is_uid(text: str) -> bool:
    """Tell whether `text` is a UID: 1 to 64 digits and dots (PS3.5 9.1), so that it is safe as a
    file name.
    """
    return re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) is not None and len(text) <= 64


def instance_path(folder: Path, sop_instance_uid: str) -> Path:
    """Where an instance lies in `folder`; raises `ValueError` if the UID is none, and so no safe
    file name.
    """
    if not is_uid(sop_instance_uid):
        raise ValueError(
            f"{sop_instance_uid!r} is not a UID (PS3.5 9.1), so it can't become a file name."
        )
    return folder / f"{sop_instance_uid}.dcm"


def is_temporary(path: Path) -> bool:
    """Tell whether this is a file of ours that is being written, or was when its writer was killed."""
    return path.name.startswith(".") and path.suffix == TEMPORARY


def open_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder to write files into, if it is not there, and remove what killed writers have
    left in it.

    Younger temporary files stay: another program may be writing them. Nobody takes them for results
    meanwhile.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f".*{TEMPORARY}"):
        with contextlib.suppress(OSError):  # somebody else's, or just gone
            if time.time() - path.stat().st_mtime > LEFT_OVER_S:
                path.unlink()
    return folder


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name once the block is through, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:  # an interrupt too
        Path(temporary).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears under its name complete, or not at all.

    It is not forced onto the disk, which would take longer than a transfer: after a power cut it
    may be empty, and `read_whole` finds that.

    Raises
    ------
    OSError
        If it can't be written; ENOSPC also when that would leave less than `KEEP_FREE_BYTES` on the
        disk.
    """
    free = shutil.disk_usage(path.parent).free
    if free < len(content) + KEEP_FREE_BYTES:
        raise OSError(
            errno.ENOSPC, f"No space left: {free // 1024**2} MB are free", str(path.parent)
        )
    with whole_file(path) as file:
        file.write(content)


def save_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write one data set as ``<SOPInstanceUID>.dcm``, with a complete DICOM file header (PS3.10
    7.1).
    """
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    path = instance_path(folder, dataset.SOPInstanceUID)
    write_whole(path, buffer.getvalue())
    return path


def folder_size(folder: Path) -> tuple[int, int]:
    """How many instances lie in a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.glob("*.dcm")]
    return len(sizes), sum(sizes)


def read_whole(path: Path) -> Dataset:
    """Read a DICOM file that must not be cut short; pydicom's ``dcmread`` returns what is left of
    one that is.

    Raises
    ------
    EOFError
        If an element ends before its length, or an image has no pixels.
    Exception
        Whatever pydicom says of a file that is no DICOM.
    """
    meta, start = split_dataset(path)
    return whole_dataset(path.read_bytes()[start:], meta.TransferSyntaxUID, str(path))


def whole_dataset(content: bytes, syntax: UID, name: str) -> Dataset:
    """Read an encoded data set that must not be cut short; `name` is for the words of an error.

    Raises
    ------
    EOFError
        If an element ends before its length, or an image has no pixels.
    Exception
        Whatever pydicom says of what is no data set.
    """
    if syntax.is_deflated:
        content = zlib.decompress(content, -zlib.MAX_WBITS)
    buffer, elements, end = BytesIO(content), {}, 0
    for element in data_element_generator(buffer, syntax.is_implicit_VR, syntax.is_little_endian):
        if isinstance(element, RawDataElement) and element.length not in (
            len(element.value or b""),
            UNDEFINED_LENGTH,
        ):
            raise EOFError(f"{name} ends in the middle of {element.tag}.")
        elements[element.tag], end = element, buffer.tell()
    dataset = Dataset(elements)
    if end < len(content):
        raise EOFError(f"{name} ends in the middle of an element.")
    is_image = "Rows" in dataset or "Image" in UID(dataset.SOPClassUID).name
    if is_image and not any(keyword in dataset for keyword in PIXELS):
        raise EOFError(f"{name} ends before the pixels of its image.")
    if "PixelData" in dataset and not syntax.is_encapsulated:
        here, due = len(dataset.PixelData or b""), _pixel_bytes(dataset)
        if here < due:
            raise EOFError(f"{name} holds {here} bytes of pixels; its attributes say {due}.")
    return dataset


def _pixel_bytes(image: Dataset) -> int:
    """How long uncompressed pixel data must be (PS3.3 C.7.6.3.1), or 0 if the attributes don't
    tell.
    """
    try:
        pixels = int(image.Rows) * int(image.Columns) * int(image.get("NumberOfFrames") or 1)
        if image.PhotometricInterpretation == "YBR_FULL_422":
            return pixels * 2 * image.BitsAllocated // 8
        return (pixels * int(image.SamplesPerPixel) * int(image.BitsAllocated) + 7) // 8
    except (AttributeError, TypeError, ValueError):
        return 0
