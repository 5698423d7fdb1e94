"""DIMSE (PS3.7): associations, queries, retrieves and receptions over the upper layer.

The words for every status and for every refused association are here, too.
"""
