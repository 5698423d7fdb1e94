"""Progress bars for what may take longer than a learner's patience, and none for what is done at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

DELAY_S = 2  # what is done by then shows no bar

T = TypeVar("T")


def track(items: Iterable[T], what: str, unit: str, *, progress: bool) -> Iterable[T]:
    """Go through `items` with a progress bar that appears after two seconds.

    Parameters
    ----------
    items : iterable
    what, unit : str
        What is being done, and the name of one item.
    progress : bool
        False: no bar. True: one, unless the environment says TQDM_DISABLE, as where a notebook's outputs are compared.
    """
    from tqdm.auto import tqdm

    # In a terminal tqdm looks at the variable itself, in a notebook it does not
    silent = not progress or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(items, desc=what, unit=unit, delay=DELAY_S, disable=silent)
