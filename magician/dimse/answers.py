"""The answers to a query (C-FIND, PS3.4 C.4.1)."""


class Matches(list):
    cut = ""
