"""Display: figures and viewers for notebooks.

Matplotlib draws the figures; the viewers draw in the page, or with sliders where that is missing.
"""
