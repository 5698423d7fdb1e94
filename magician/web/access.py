"""The words of access of a page: who may look, where other computers can reach it.

On loopback nobody needs a word. Beyond it, each address that the server prints holds one, and a
browser keeps it in a cookie from then on. There are two: the learners' word opens what the PACS
holds, the teacher's word opens every page.
"""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlencode

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request, Response

from magician.node import is_loopback

# 32 characters, none of which is taken for another. Twelve of them are 60 bits: with ten thousand
# guesses a second, a stranger would need two million years.
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
LENGTH = 12
PARAMETER = "word"

MISSING = (
    "This page needs its word of access. Open the whole address that the server has printed: the "
    "word stands at its end."
)
WRONG = (
    "The word of access in this address is wrong. Copy the whole address that the server has "
    "printed; it prints a new word at each start."
)
TEACHERS_ONLY = (
    "This page is for the teacher. The server has printed its address apart from the learners'."
)


class Access:
    """Decides which requests get an answer.

    Parameters
    ----------
    host : str
        The address at which the page listens.

    Attributes
    ----------
    learners_word, teachers_word : str
        Empty on loopback, where no word is needed.
    """

    def __init__(self, host: str) -> None:
        needed = not is_loopback(host)
        self.learners_word, self.teachers_word = (_word() if needed else "" for _ in range(2))

    def query(self, *, teacher: bool = False) -> str:
        """Return what an address needs at its end: ``?word=...``, or nothing on loopback."""
        word = self.teachers_word if teacher else self.learners_word
        return f"?{urlencode({PARAMETER: word})}" if word else ""

    def admit(self, request: Request, *, teacher: bool = False) -> Response | None:
        """Let a request through, if it brings the word that it needs.

        Parameters
        ----------
        request : Request
        teacher : bool
            Whether the page is for the teacher only.

        Returns
        -------
        Response, or None
            None if the request may be answered. A request with the word in its address gets the
            same address without it, and a cookie that holds the word.

        Raises
        ------
        Forbidden
            If the word is missing or wrong; its text says which.
        """
        if not self.learners_word:
            return None
        shown = request.args.get(PARAMETER)
        cookie = _name_of_cookie(request)
        word = request.cookies.get(cookie, "") if shown is None else shown
        if not self._is_right(word, teacher=False):
            raise Forbidden(WRONG if shown is not None else MISSING)
        if teacher and not self._is_right(word, teacher=True):
            raise Forbidden(TEACHERS_ONLY)
        if shown is None:
            return None
        response = Response(status=303, headers={"Location": _address_without_word(request)})
        # Lax, and not Strict: a browser then sends it after a click in a notebook, too
        response.set_cookie(cookie, word, httponly=True, samesite="Lax")
        return response

    def _is_right(self, word: str, *, teacher: bool) -> bool:
        allowed = [self.teachers_word] + [self.learners_word] * (not teacher)
        # each is compared, in constant time
        given = word.encode("utf-8", "replace")
        return any([secrets.compare_digest(given, right.encode()) for right in allowed])


def _word() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def _name_of_cookie(request: Request) -> str:
    """Return a name with the port in it, because all ports of a computer share their cookies."""
    _, _, port = request.host.rpartition(":")
    return f"magician-{port if port.isdecimal() else 80}"


def _address_without_word(request: Request) -> str:
    """Return the address of a request without the word, relative to itself."""
    query = urlencode([pair for pair in request.args.items(multi=True) if pair[0] != PARAMETER])
    return f"./{quote(request.path.rpartition('/')[2])}" + (f"?{query}" if query else "")
