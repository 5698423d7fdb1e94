"""What the tests of drills share."""

import pytest

from magician.teaching.exercises import drill


@pytest.fixture(scope="module")
def own_progress(tmp_path_factory):
    """A table of progress for all tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAGICIAN_PROGRESS", str(tmp_path_factory.mktemp("own") / "progress.json"))
        yield


@pytest.fixture(scope="class")
def case(request):
    """The drill of a class of tests."""
    case = drill(request.cls.letter)
    yield case
    case.stop()
