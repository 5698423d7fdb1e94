"""What a listener lets its callers take; a part of `storage`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from magician._files import folder_size
from magician._reception import OUT_OF_RESOURCES, Refused


@dataclass(frozen=True)
class Limits:
    """What a listener lets its callers take.

    Attributes
    ----------
    object_bytes : int
        The largest object; while it arrives it is held in memory.
    total_bytes, instances : int
        How much its folder may hold, and how many instances.
    associations : int
        How many callers at once. One more is refused with "local limit exceeded" (PS3.8 9.3.4); when twice as many
        are connected, further connections are closed without an answer.
    associate_s : float
        How long a connection may be open before it asks for an association (the ARTIM timer, PS3.8 9.1.5).
    idle_s : float
        How long an association may be silent, and how long one PDU may take.
    """

    object_bytes: int = 1024**3
    total_bytes: int = 64 * 1024**3
    instances: int = 100_000
    associations: int = 64
    associate_s: float = 10
    idle_s: float = 60


DEFAULT_LIMITS = Limits()


class Room:
    """How much more a listener may keep in its folder; safe to use from several threads."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._instances, self._bytes = folder_size(folder)
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count one more object; raises `Refused` with 0xA700 if there is no room for it."""
        with self._lock:
            if self._instances >= self._limits.instances:
                raise Refused(OUT_OF_RESOURCES, f"an object: {self._limits.instances} are here (instances)")
            if self._bytes + size > self._limits.total_bytes:
                raise Refused(OUT_OF_RESOURCES, f"an object: {self._bytes} bytes are here (total_bytes)")
            self._instances += 1
            self._bytes += size

    def give_back(self, size: int) -> None:
        """Take back the count of an object that could not be written after all."""
        with self._lock:
            self._instances -= 1
            self._bytes -= size
