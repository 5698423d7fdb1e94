"""Checks: is an object conformant, and did a PACS keep what it was given?

The proof reads the results back from the PACS, with a reader that shares no code with the writer.
"""
