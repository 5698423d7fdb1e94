"""Rendering: from Hounsfield units to pixels, without widgets and without figures.

Window, overlay, planes and orientation, for the results, the viewers and the web page alike.
"""
