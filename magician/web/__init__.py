"""The web page of a PACS: studies, series and images of what it holds, to be looked at.

`serve` starts a `WebPage`, which is a context manager, and returns it.
"""

from magician.web.page import WebPage, serve

__all__ = ["WebPage", "serve"]
