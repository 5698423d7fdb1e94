"""Client: the verbs. One function for each thing that one asks of a PACS."""
