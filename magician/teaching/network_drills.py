"""The drills of the network: what goes wrong, and how a learner's answer is examined."""

from __future__ import annotations

from magician.teaching.exercises import Exercise

EXERCISES: dict[str, Exercise] = {}
