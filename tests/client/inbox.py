"""The folder of a retrieve: what lies in it."""

from __future__ import annotations

from magician.files import read_whole


def whole_files(folder):
    """The instances in a folder, each checked to be whole; fails if it holds anything else."""
    uids = set()
    for path in folder.iterdir():
        assert path.name == f"{read_whole(path).SOPInstanceUID}.dcm"
        uids.add(path.stem)
    return uids
