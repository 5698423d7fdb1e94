"""The web page of a PACS: studies, series and images of what it holds, to be looked at.

`serve` starts a `WebPage`, which is a context manager, and returns it. `show_page` shows the page
of a PACS in a notebook.
"""

from magician.web.page import WebPage, serve
from magician.web.shown_page import show_page

__all__ = ["WebPage", "serve", "show_page"]
