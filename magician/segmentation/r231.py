"""R231's weights: fetched once, after a note on their licence, and recognised by their hash."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import sys
import urllib.request
from pathlib import Path

from magician.errors import WeightsUnavailable
from magician.files import whole_file

ADDRESS = "https://github.com/JoHof/lungmask/releases/download/v0.0/unet_r231-d5d2fc3d.pth"
LICENCE = (
    "R231 (Hofmanninger et al. 2020, arXiv:2001.11767) is not part of magician. lungmask's code is "
    "Apache-2.0, but the paper calls the trained model GPL-3.0. Ask before you ship it with a "
    "product, or its results with a claim."
)
TRAINED_ON = "231 chest CT of patients (arXiv:2001.11767)"
LARGEST = 200_000_000  # bytes; the file has 124 million
PATIENCE_S = 30  # for an answer, and for each piece of the file
# By PyTorch's custom, the name of the file ends in the first digits of its SHA-256. The other
# digits were never published.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.[^.]+$")

logger = logging.getLogger(__name__)


def hash_in_address() -> str:
    """Return the first digits of the SHA-256 of the published file."""
    return HASH_IN_NAME.search(ADDRESS)[1]


def cached_path() -> Path:
    """Return the path of the fetched weights: PyTorch's cache (``TORCH_HOME``), as in lungmask."""
    import torch

    return Path(torch.hub.get_dir(), "checkpoints", ADDRESS.rsplit("/", 1)[-1])


def find_or_fetch(progress: bool) -> Path:
    """Return the file in the user's cache; download it first if it isn't there.

    Raises
    ------
    WeightsUnavailable
        If the download fails, or the hash is not that in the name. No part of the file stays.
    """
    path = cached_path()
    if not path.is_file():
        from tqdm.auto import tqdm

        tqdm.write(LICENCE, file=sys.stderr)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _download(ADDRESS, path, progress)
        except (OSError, http.client.HTTPException) as error:  # URLError, TimeoutError are OSErrors
            raise WeightsUnavailable(
                f"R231's weights could not be fetched to {path.parent} "
                f"({type(error).__name__}: {error}). {usage_note()}"
            ) from error
    return path


def check_identity(path: Path, sha256: str) -> None:
    """Compare the hash of a file with that in its name, and with that of its first use.

    At the first use of a file in the cache, its full hash is recorded beside it.

    Raises
    ------
    WeightsUnavailable
        If one of them differs.
    """
    named = HASH_IN_NAME.search(path.name)
    if named and not sha256.startswith(named[1]):
        raise WeightsUnavailable(
            f"{path} is not what its name says: its SHA-256 begins with {sha256[:8]}, not with "
            f"{named[1]}. It is damaged, or somebody changed it. Nothing in it was run. Delete it, "
            f"and fetch it again."
        )
    if not named:
        logger.warning(
            "%s does not carry a hash in its name: whether it is the published R231 is unknown",
            path,
        )
    record = path.with_name(path.name + ".sha256")
    if record.is_file():
        known = record.read_text(encoding="utf-8").split(maxsplit=1)[0:1]
        if known != [sha256]:
            raise WeightsUnavailable(
                f"{path} has changed since its first use: SHA-256 {sha256}, but {record.name} says "
                f"{known[0] if known else 'nothing'}. Nothing in it was run. If you changed it, "
                f"delete {record.name}."
            )
    elif path == cached_path().resolve():
        # in the form that the program sha256sum checks
        record.write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


def usage_note() -> str:
    """Return a sentence on how to use R231 without a download, or to do without R231."""
    return (
        f"{LICENCE} Without internet: download {ADDRESS} elsewhere, and call "
        f"segment_lungs(volume, model='R231', "
        f"weights='that/folder/{ADDRESS.rsplit('/', 1)[-1]}'). "
        f"Or use model='bundled', which needs nothing."
    )


def _download(address: str, path: Path, progress: bool) -> None:
    """Download a file; it appears complete and with the hash in its name, or not at all."""
    from tqdm.auto import tqdm

    digest, received = hashlib.sha256(), 0
    with whole_file(path) as file:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            expected = int(answer.headers.get("Content-Length") or 0)
            with tqdm(
                total=expected or None,
                desc="R231 weights",
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar:
                while piece := answer.read(1 << 18):
                    received += len(piece)
                    if max(received, expected) > LARGEST:
                        raise WeightsUnavailable(
                            f"{address} sends more than {LARGEST / 1e6:.0f} MB: not R231. "
                            f"{usage_note()}"
                        )
                    file.write(piece)
                    digest.update(piece)
                    bar.update(len(piece))
        if received < expected:
            raise ConnectionError(f"the connection ended after {received} of {expected} bytes")
        named = HASH_IN_NAME.search(path.name)
        if named and not digest.hexdigest().startswith(named[1]):
            raise WeightsUnavailable(
                f"What {address} sent is not R231: its SHA-256 begins with "
                f"{digest.hexdigest()[:8]}, not with {named[1]}. It was deleted. "
                f"Does a proxy answer in place of the site? {usage_note()}"
            )
