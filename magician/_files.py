"""DICOM files by SOP Instance UID: safe names, and each file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset


def is_uid(text: str) -> bool:
    """Tell whether `text` is a UID: 1 to 64 digits and dots (PS3.5 9.1), so that it is safe as a file name."""
    return re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) is not None and len(text) <= 64


def instance_path(folder: Path, sop_instance_uid: str) -> Path:
    """Where an instance lies in `folder`; raises `ValueError` if the UID is none, and so no safe file name."""
    if not is_uid(sop_instance_uid):
        raise ValueError(f"{sop_instance_uid!r} is not a UID (PS3.5 9.1), so it can't become a file name.")
    return folder / f"{sop_instance_uid}.dcm"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name once the block is through, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:  # an interrupt too
        Path(temporary).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears under its name complete, or not at all."""
    with whole_file(path) as file:
        file.write(content)


def save_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write one data set as ``<SOPInstanceUID>.dcm``, with a complete DICOM file header (PS3.10 7.1)."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    path = instance_path(folder, dataset.SOPInstanceUID)
    write_whole(path, buffer.getvalue())
    return path
