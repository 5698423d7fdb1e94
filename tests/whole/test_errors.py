"""Status codes in words, and the tree of errors."""

import re

import pytest

from magician import describe_status, errors


@pytest.mark.parametrize(
    ("status", "service", "words"),
    [
        (0x0000, "C-ECHO", "0x0000 (Success)"),
        (0xB000, "C-STORE", "0xB000 (Stored, with a warning: some values were coerced)"),
        (0xB000, "C-GET", "0xB000 (Incomplete: one or more images failed)"),
        (0xA801, "C-MOVE", "0xA801 (Refused: move destination unknown)"),
        (0xA700, "C-FIND", "0xA700 (Refused: out of resources)"),
        (0xC211, "C-STORE", "0xC211 (Failure: cannot understand)"),
        (0xC000, "C-MOVE", "0xC000 (Failure: unable to process)"),
        (0x0124, "C-STORE", "0x0124 (Not authorised)"),
    ],
)
def test_a_status_is_put_into_the_words_of_its_service(status, service, words):
    assert describe_status(status, service) == words


def test_a_code_that_no_standard_defines_says_so():
    assert "does not define" in describe_status(0xA801, "C-STORE")


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = set(re.findall(r"── (\w+)", errors.__doc__)) | {"MagicianError"}
    classes = {
        n for n, x in vars(errors).items() if isinstance(x, type) and issubclass(x, Exception)
    }
    assert drawn == classes
    assert all(issubclass(getattr(errors, name), errors.MagicianError) for name in drawn)
