"""The version of the library: part of every result, and of every UID that is derived from one."""

from __future__ import annotations

__version__ = "0.1.0"
