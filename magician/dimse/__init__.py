"""DIMSE (PS3.7): associations, queries, retrieves and receptions over the upper layer."""
