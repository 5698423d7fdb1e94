"""Progress bars for what takes long; a part of `storage` and `query_retrieve`."""

from __future__ import annotations

from collections.abc import Sequence

SHOW_AFTER_S = 2  # for what is over sooner a bar would only flicker


def progress_bar(service: str, shown: bool, *, over: Sequence | None = None, total: int | None = None, done: int = 0):
    """A bar that counts objects, `over` a sequence or up to `total`; it appears after two seconds, or never."""
    from tqdm.auto import tqdm

    return tqdm(
        over, total=total, initial=done, desc=service, unit=" objects", delay=SHOW_AFTER_S, disable=not shown
    )
