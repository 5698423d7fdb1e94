"""CT: one exact volume from the files of a series, or the reason why there is none."""
