"""Progress bars for work that may take longer than two seconds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY_S = 2  # work that ends earlier shows no bar

T = TypeVar("T")


def may_show(progress: bool) -> bool:
    """Tell whether a bar may be shown: it was asked for, and TQDM_DISABLE is not set."""
    # tqdm heeds the variable in a terminal and ignores it in a notebook
    return progress and not os.environ.get("TQDM_DISABLE")


def progress_bar(
    items: Iterable | None,
    what: str,
    unit: str,
    *,
    progress: bool,
    total: int | None = None,
    done: int = 0,
) -> tqdm:
    """Make a progress bar that appears after two seconds.

    Parameters
    ----------
    items : iterable or None
        The items to go through; None if the caller calls the bar's ``update``.
    what, unit : str
        The name of the work, and of one item.
    progress : bool
        False shows no bar. True shows one unless TQDM_DISABLE is set in the environment, as it is
        where the outputs of a notebook are compared.
    total, done : int
        The number of all items if `items` does not tell it, and of those that are done already.
    """
    from tqdm.auto import tqdm

    return tqdm(
        items,
        desc=what,
        unit=unit,
        total=total,
        initial=done,
        delay=DELAY_S,
        disable=not may_show(progress),
    )


def track(items: Iterable[T], what: str, unit: str, *, progress: bool) -> Iterable[T]:
    """Go through `items` with a `progress_bar`."""
    return progress_bar(items, what, unit, progress=progress)
