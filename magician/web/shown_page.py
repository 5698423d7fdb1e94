"""The page of a PACS as a notebook cell shows it: `show_page`."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from markupsafe import Markup

from magician.node import is_loopback
from magician.practice_pacs.pacs import PracticePacs
from magician.web.frame import display_page, frame_of
from magician.web.page import WebPage

LINK = Markup(
    '<p><a href="{url}" target="_blank" rel="noopener">Open the page of the class PACS</a> in a '
    "tab of its own. It is on another computer, and is there as long as that PACS runs.</p>"
)
LONGEST = 500  # characters of an address


class ClassPage:
    """The web page of a class PACS, which runs in another process or on another computer.

    A notebook shows a frame if the page is on this computer, and a link if it is not: in a frame of
    another site, no browser keeps the word of access.

    Parameters
    ----------
    url : str
        Its address, as the class server has printed it.

    Raises
    ------
    ValueError
        If it is not the address of a web page.
    """

    def __init__(self, url: str) -> None:
        self.url = url.strip()
        self._parts = _split(self.url)

    def __repr__(self) -> str:
        return "The web page of the class PACS"

    def _repr_html_(self) -> str:
        if is_loopback(self._parts.hostname):
            return frame_of(self.url, repr(self))
        return LINK.format(url=self.url)

    def _ipython_display_(self) -> None:
        """Show the frame or the link."""
        port = self._parts.port or 80 if is_loopback(self._parts.hostname) else None
        display_page(self, port, path=self._parts.path or "/")


def show_page(pacs: PracticePacs | WebPage | str) -> WebPage | ClassPage:
    """Return the web page of a PACS, which a notebook shows where it ends a cell.

    Parameters
    ----------
    pacs : PracticePacs, WebPage or str
        A PACS of this notebook, which must be started, or the address of the page of a class PACS,
        as the class server has printed it.

    Raises
    ------
    MagicianError
        If the PACS is stopped.
    ValueError
        If it is neither.

    Examples
    --------
    >>> show_page(PracticePacs.shared("SECOND"))
    The web page of the practice PACS SECOND
    >>> show_page("http://127.0.0.1:8080/")
    The web page of the class PACS
    """
    if isinstance(pacs, PracticePacs):
        return WebPage.shared(pacs)
    if isinstance(pacs, WebPage):
        return pacs
    if isinstance(pacs, str):
        return ClassPage(pacs)
    raise ValueError(
        f"show_page shows the page of a PracticePacs of this notebook, or of a class PACS by its "
        f"address in quotes, such as 'http://127.0.0.1:8080/'; this is a {type(pacs).__name__}."
    )


def _split(url: str) -> SplitResult:
    """Return the parts of an address; raise `ValueError` if no browser should go there."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # refuses what is no number
        proper = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    except ValueError:
        proper = False
    if not proper or len(url) > LONGEST or not url.isprintable() or " " in url:
        raise ValueError(
            f"{url[:80]!r} is not the address of a web page. Copy the one that the class server "
            f"has printed: it begins with http:// and is complete with all that follows."
        )
    return parts
