"""Diseases of a phantom's lungs, each drawn at random or not.

All of it stays inside the label: the lungs of a sick patient are lungs. None of it is as uniform as
fat is and has its HU, or fat would be taken for it.
"""

from __future__ import annotations

import numpy as np

from phantom_parts.body import Body
from phantom_parts.shapes import random_ellipsoid


def draw_disease(body: Body) -> None:
    """Draw all diseases; airways stay open, also in consolidated lung."""
    lung = body.label > 0
    edge = lung & ((body.cage > -8) | (body.dome < 12))
    _draw_emphysema(body, lung)
    _draw_ground_glass(body, lung)
    _draw_viral_pneumonia(body, lung, edge)
    _draw_dense_pneumonia(body, lung, edge)
    _draw_airless_lobe(body)
    _draw_reticulation(body, lung)
    _draw_atelectasis(body, lung)
    _draw_masses(body, lung)
    _draw_effusion(body)
    _draw_pneumothorax(body)


def open_airways(body: Body) -> None:
    """Draw the air of the small airways again, over what disease has filled."""
    body.hu += body.tree_lumen * np.minimum(-930 - body.hu, 0)


def _draw_emphysema(body: Body, lung: np.ndarray) -> None:
    """Draw emphysema, and bullae."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    if rng.random() < 0.25:
        n = int(rng.integers(10, 50))
        holes = body.field(10, n, n) > u(0.6, 1.8)
        hu[lung & holes] = np.minimum(hu[lung & holes], u(-1000, -940))
    for _ in range(rng.integers(1, 4) if rng.random() < 0.12 else 0):
        bulla = lung & (random_ellipsoid(body, lung, u(10, 45)) < 1)
        hu[bulla] = u(-1000, -950)


def _draw_ground_glass(body: Body, lung: np.ndarray) -> None:
    """Draw patches from ground glass to consolidation, some of them in one lung only."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    if rng.random() >= 0.5:
        return
    n = int(rng.integers(2, 12))
    patches = body.field(max(2, n // 2), n, n)
    towards = (body.y / body.half_depth) * u(0, 1.6) - (body.dome / body.height) * u(0, 1.5)
    patches = patches + towards + u(-0.8, 0.8) * np.where(body.upper, 1, -1) - u(0.6, 2.0)
    rim = u(0.05, 0.6)
    share = np.clip(patches / rim, 0, 1) * np.clip(u(0.3, 1.6), 0, 1)
    if rng.random() < 0.5:
        share *= body.label == rng.integers(1, 3)
    dense = u(-40, 90) if rng.random() < 0.5 else u(-550, -180)
    hu[lung] += (share * np.maximum(dense - hu, 0))[lung]


def _draw_viral_pneumonia(body: Body, lung: np.ndarray, edge: np.ndarray) -> None:
    """Draw many foci of ground glass at the pleura of both lungs."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    if rng.random() >= 0.15:
        return
    for _ in range(rng.integers(4, 14)):
        focus = random_ellipsoid(body, edge, u(8, 35)) + u(0.1, 0.5) * body.field(6, 20, 20)
        share = np.clip((1 - focus) / u(0.1, 0.9), 0, 1) * u(0.4, 1)
        dense = u(-650, -180) if rng.random() < 0.7 else u(-40, 60)
        hu[lung] += (share * np.maximum(dense - hu, 0))[lung]


def _draw_dense_pneumonia(body: Body, lung: np.ndarray, edge: np.ndarray) -> None:
    """Draw consolidations, most of them at the pleura, half in the recess above the diaphragm."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    recess = lung & (body.cage > -30) & (body.dome < 30)  # between diaphragm and ribs
    for _ in range(rng.integers(1, 4) if rng.random() < 0.5 else 0):
        place = rng.random()
        mask = recess if place < 0.5 else edge if place < 0.8 else lung
        focus = random_ellipsoid(body, mask, u(12, 60))
        focus += u(0.1, 0.6) * body.field(6, 14, 14)
        share = np.clip((1 - focus) / u(0.05, 0.8), 0, 1)
        hu[lung] += (share * np.maximum(u(-40, 90) - hu, 0))[lung]


def _draw_airless_lobe(body: Body) -> None:
    """Draw a lobe, or most of a lung, without air, up to a straight fissure."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    if rng.random() < 0.15:
        dense = (body.label == rng.integers(1, 3)) & (body.upper == (rng.random() < 0.5))
        hu[dense] += u(0.7, 1) * (u(10, 90) - hu[dense])


def _draw_reticulation(body: Body, lung: np.ndarray) -> None:
    """Draw a net of thick septa under the pleura."""
    u = body.rng.uniform
    if body.rng.random() < 0.15:
        net = np.abs(body.field(8, 45, 45)) < u(0.15, 0.5)
        net &= lung & (body.cage > -u(8, 40))
        body.hu[net] += u(100, 600)


def _draw_atelectasis(body: Body, lung: np.ndarray) -> None:
    """Draw bands of airless lung above the diaphragm and at the back."""
    u, hu = body.rng.uniform, body.hu
    if body.rng.random() < 0.3:
        depth = np.minimum(body.dome, -body.cage * 1.5 - 60 * (body.y < 20))
        dense = lung & (depth < u(2, 12))
        share, change = u(0.3, 0.95), u(-100, 70) - hu[dense]
        hu[dense] += share * change * (body.field(3, 8, 8)[dense] > u(-1, 1))


def _draw_masses(body: Body, lung: np.ndarray) -> None:
    """Draw some masses of all sizes, or many small ones; a few have a cavity."""
    rng, u, hu = body.rng, body.rng.uniform, body.hu
    many = rng.random() < 0.1
    some = many or rng.random() < 0.5
    for _ in range(rng.integers(*((8, 20) if many else (1, 4))) if some else 0):
        mass = random_ellipsoid(body, lung, u(3, 9) if many else np.exp(u(1.2, 3.7)))
        lumpy = mass + 0.25 * body.field(6, 20, 20)
        hu[lung & (lumpy < 1)] = u(-50, 110) if rng.random() < 0.85 else u(-650, -300)
        if rng.random() < 0.15:
            hu[lung & (lumpy < u(0.1, 0.5))] = -950  # a cavity


def _draw_effusion(body: Body) -> None:
    """Draw fluid, which lies at the back, in a crescent."""
    rng, u = body.rng, body.rng.uniform
    if rng.random() >= 0.15:
        return
    value = rng.integers(1, 3)
    level = body.y_cage + 0.25 * body.cage + 6 * body.field(2, 4, 4) - 0.15 * body.z
    fluid = (body.label == value) & (level > body.half_depth * u(0.3, 0.85))
    fluid &= body.z < u(0.3, 0.9) * body.height
    body.hu[fluid] = u(0, 30)


def _draw_pneumothorax(body: Body) -> None:
    """Draw air between lung and chest wall, in front."""
    rng, u = body.rng, body.rng.uniform
    if rng.random() < 0.04:
        gap = body.label == rng.integers(1, 3)
        gap &= body.y + 0.6 * body.cage < -body.half_depth * u(0.3, 0.8)
        body.hu[gap] = -1000
