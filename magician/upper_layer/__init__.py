"""Upper layer (PS3.8): pynetdicom, with time limits, size limits, speed and repairs.

The only room that touches a name of pynetdicom that is private, or assigned to.
"""
