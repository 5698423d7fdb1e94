"""How to connect an AI algorithm to a PACS: the library behind the tutorial notebook."""

__version__ = "0.1.0"
