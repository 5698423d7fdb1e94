"""Practice PACS and their web pages."""

import pytest
from helpers import ct_series, lung_segmentation, truth_labels, write_series

from magician.ct.volume import read_series
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import make_results
from magician.web.page import serve


@pytest.fixture(scope="module")
def series():
    return ct_series()


@pytest.fixture(scope="module")
def volume(series, tmp_path_factory):
    return read_series(write_series(series, tmp_path_factory.mktemp("ct")))


@pytest.fixture(scope="module")
def results(volume, series):
    return make_results(volume, lung_segmentation(volume, truth_labels(series)), learner="Ada")


@pytest.fixture(scope="module")
def page(series, results):
    """The page of a PACS that holds a small CT, and a learner's results of it."""
    with PracticePacs(ae_title="SECOND") as pacs, serve(pacs) as page:
        pacs.add(series)
        pacs.add(results.all)
        yield page


@pytest.fixture
def pacs():
    with PracticePacs() as pacs:
        yield pacs


@pytest.fixture
def own_page(pacs):
    """The page of a PACS that is still empty."""
    with serve(pacs) as page:
        yield page
