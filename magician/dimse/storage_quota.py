"""The quota of a folder: how many instances, and how many bytes, a listener may keep in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magician.files import folder_size
from magician.upper_layer.limits import Limits


class QuotaExceeded(OSError):
    """A folder takes no further object; the message says which limit it has reached."""


class StorageQuota:
    """How much more may be kept in a folder; safe to use from several threads.

    Parameters
    ----------
    folder : Path
        It must exist. What lies in it already counts.
    limits : Limits
        Its `instances` and `total_bytes`.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._limits = limits
        self._instances, self._bytes = folder_size(folder)
        self._lock = threading.Lock()

    @contextmanager
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
            if self._instances >= self._limits.instances:
                raise QuotaExceeded(
                    f"the folder holds {self._instances} instances, as many as it may (instances)"
                )
            if self._bytes + size > self._limits.total_bytes:
                raise QuotaExceeded(
                    f"the folder holds {self._bytes} bytes, and {size} more would exceed "
                    f"{self._limits.total_bytes} (total_bytes)"
                )
            self._instances += 1
            self._bytes += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._instances -= 1
            self._bytes -= size
