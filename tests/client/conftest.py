"""A practice PACS that holds the small series."""

import pytest
from faulty_pacs import SERIES

from magician.practice_pacs.pacs import PracticePacs

pytest.register_assert_rewrite("odd_rows")  # its outcomes say what they compare


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        pacs.add(SERIES)
        yield pacs
