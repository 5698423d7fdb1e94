"""The web page of a PACS."""

from magician.web.page import WebPage, serve

__all__ = ["WebPage", "serve"]
