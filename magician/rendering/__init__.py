"""Rendering: from Hounsfield units to pixels. No widgets, no figures."""
