"""Status codes in words and by name, and the tree of errors."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import magician
from magician import describe_status, errors

PACKAGE = Path(magician.__file__).parent
# The room that holds the codes, the services of a PACS, and the protocol below DIMSE
MAY_HOLD_CODES = {"dimse/status.py", "practice_pacs", "upper_layer"}


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
        (0x0110, "C-ECHO", "0x0110 (Processing failure)"),
        (0xA9FF, "C-STORE", "0xA9FF (Failure: data set does not match SOP class)"),
    ],
)
def test_a_status_is_put_into_the_words_of_its_service(status, service, words):
    assert describe_status(status, service) == words


def test_a_code_that_no_standard_defines_says_so():
    assert "does not define" in describe_status(0xA801, "C-STORE")


def bare_status_codes(source):
    """The hexadecimal codes of a file, and its comparisons of a status with a number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    numbers = [token.string for token in tokens if token.type == tokenize.NUMBER]
    codes = [n for n in numbers if re.fullmatch("0[xX]....", n) and int(n, 16) >= 0xA700]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            compares_status = any("status" in ast.unparse(side).lower() for side in sides)
            values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            if compares_status and any(type(value) is int for value in values):
                codes.append(ast.unparse(node))
    return codes


def test_a_bare_status_code_is_found():
    assert bare_status_codes("if answer.Status == 0:\n    pass") == ["answer.Status == 0"]
    assert bare_status_codes("return 0xC000") == ["0xC000"]
    assert bare_status_codes("status in (SUCCESS, 65280)") == ["status in (SUCCESS, 65280)"]
    assert bare_status_codes("status == SUCCESS") == bare_status_codes("MOST = 100_000") == []


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_status_code_has_a_name(path):
    place = path.relative_to(PACKAGE)
    if not {str(place), place.parts[0]} & MAY_HOLD_CODES:
        assert bare_status_codes(path.read_text(encoding="utf-8")) == []


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = set(re.findall(r"── (\w+)", errors.__doc__)) | {"MagicianError"}
    classes = {
        n for n, x in vars(errors).items() if isinstance(x, type) and issubclass(x, Exception)
    }
    assert drawn | {"WrongArgument"} == classes  # which is a ValueError, and stands beside the tree
    assert all(issubclass(getattr(errors, name), errors.MagicianError) for name in drawn)
