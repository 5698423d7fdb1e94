"""Checks: conformance of objects, and proof by reading results back from a PACS."""
