"""CT: one exact volume from the files of a series, or the reason why there is none.

It chooses the series, checks the geometry of its slices and reads their Hounsfield units.
"""
