"""Client: the verbs, one function for each thing that one asks of a PACS.

Echo, find, retrieve, store, and the diagnosis of a connection that fails.
"""
