"""Progress bars for what may take longer than a learner's patience, and none for what is done at
once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY_S = 2  # what is done by then shows no bar

T = TypeVar("T")


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
        What the bar goes through; None if its ``update`` is called instead.
    what, unit : str
        What is being done, and the name of one item.
    progress : bool
        False: no bar. True: one, unless the environment says TQDM_DISABLE, as where a notebook's
        outputs are compared.
    total, done : int
        How many items there are, where `items` does not tell, and how many of them are done
        already.
    """
    from tqdm.auto import tqdm

    # In a terminal tqdm looks at the variable itself, in a notebook it does not
    silent = not progress or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(
        items, desc=what, unit=unit, total=total, initial=done, delay=DELAY_S, disable=silent
    )


def track(items: Iterable[T], what: str, unit: str, *, progress: bool) -> Iterable[T]:
    """Go through `items` with a `progress_bar`."""
    return progress_bar(items, what, unit, progress=progress)
