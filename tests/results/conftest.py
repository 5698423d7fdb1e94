"""Small CT cases, each made once for a file of tests."""

from __future__ import annotations

import pytest
from helpers import ORIENTATIONS, ct_series
from result_cases import Case, make_case

from magician.results.make import Results


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return make_case(ct_series(), tmp_path_factory.mktemp("ct"))


@pytest.fixture
def own_case(small_series, tmp_path) -> Case:
    """The same case for a test that changes its files."""
    return make_case(small_series, tmp_path / "ct")


@pytest.fixture(scope="module", params=ORIENTATIONS.values(), ids=ORIENTATIONS)
def turned(request, tmp_path_factory) -> Case:
    """The case in every orientation."""
    return make_case(ct_series(orientation=request.param), tmp_path_factory.mktemp("turned"))


@pytest.fixture(scope="module")
def ada(case) -> Results:
    return case.results(learner="Ada", include_ct=True)
