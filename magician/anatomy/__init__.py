"""Anatomy: the computed chest behind the teaching study, organ by organ."""
