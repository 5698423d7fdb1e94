"""The table of values: codes that stand for the same pixels."""

from __future__ import annotations

import numpy as np

from magician.rendering.value_table import ValueTable


def test_pixels_are_the_same_by_way_of_the_table_of_values(volume):
    half = (volume.hu / 2).astype(np.float32)
    many = np.random.default_rng(0).normal(0, 300, (9, 100, 100)).astype(np.float32)
    for hu, off in [(volume.hu, 0), (half, 0), (many, 0.5)]:
        table = ValueTable(hu)
        assert len(table.values) <= 65536
        assert np.abs(table.values[table.encode(hu)] - hu).max() <= off
