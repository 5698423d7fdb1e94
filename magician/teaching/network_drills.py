"""The drills of the network: what goes wrong, and how a learner's answer is examined."""

from __future__ import annotations

from magician.teaching.drills import Drill, Exercise

EXERCISES: dict[str, Exercise] = {}
DRILLS: dict[str, type[Drill]] = {}
