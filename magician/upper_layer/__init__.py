"""Upper layer (PS3.8): pynetdicom, with time limits, size limits and speed."""
