"""What a plain threshold finds, and what it does not."""

import numpy as np
from helpers import ct_series, truth_labels, write_series

from magician import dice, read_series, threshold_lungs


def test_a_healthy_lung_is_found(small_folder):
    volume = read_series(small_folder)
    assert dice(threshold_lungs(volume, smallest_ml=5), truth_labels(ct_series()) > 0) > 0.99


def test_a_consolidated_part_is_missed(tmp_path):
    volume = read_series(write_series(ct_series(), tmp_path))
    full = np.zeros(volume.hu.shape, bool)
    full[5:7, 20:40, 15:30] = truth_labels(ct_series())[5:7, 20:40, 15:30] == 1
    volume.hu[full] = 40
    assert full.sum() > 100
    assert not threshold_lungs(volume, smallest_ml=5)[full].any()


def test_air_around_the_body_and_small_pockets_are_left_out(small_folder):
    volume = read_series(small_folder)
    assert not threshold_lungs(volume, smallest_ml=5)[:, 0, 0].any()
    # both lungs of this small phantom have less than 100 ml
    assert not threshold_lungs(volume).any()
