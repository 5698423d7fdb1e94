"""The trees of the teaching phantom's lungs: arteries, veins and bronchi."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Where artery, bronchus and vein enter each lobe: (x, y, z) in mm, radius of the artery in mm.
HILA = {
    "RUL": ((-54, -10, 184), (-46, -4, 181), (-52, -20, 164), 4.0),
    "RML": ((-50, -6, 142), (-54, -8, 132), (-48, -22, 158), 3.2),
    "RLL": ((-53, 14, 134), (-43, 28, 130), (-54, 22, 120), 5.0),
    "LUL": ((52, -4, 186), (57, 0, 171), (52, -18, 166), 4.3),
    "LLL": ((51, 28, 140), (49, 34, 137), (54, 24, 122), 5.0),
}
INERTIA = 0.55  # how much of its stem's direction a branch keeps


@dataclass(frozen=True)
class Tree:
    """A branching tree of n nodes.

    ``parent`` is the index of the node before (the root is its own), ``position`` is (n, 3) in mm,
    and ``radius`` is in mm. ``heading`` (n, 3) is the direction in which the branch arrives, of
    length 1.
    """

    parent: np.ndarray
    position: np.ndarray
    heading: np.ndarray
    radius: np.ndarray


def grow_tree(
    rng: np.random.Generator,
    root: np.ndarray,
    ends: np.ndarray,
    root_radius: float,
    end_radius: float,
) -> Tree:
    """Grow a tree from ``root`` to all ``ends`` (n, 3): divide the ends again and again, as lungs
    do.

    A branch that feeds n ends has the radius ``end_radius * n ** p`` (Murray's law); p is chosen so
    that the root has ``root_radius``.
    """
    power = np.log(root_radius / end_radius) / np.log(len(ends))
    heading = _unit(ends.mean(axis=0) - root)[None]
    parents, positions, headings, loads = (
        [np.array([0])],
        [root[None]],
        [heading],
        [np.array([len(ends)])],
    )
    group, above, made = np.zeros(len(ends), int), np.array([0]), 1
    position, points = root[None], ends
    while len(points):
        count = np.bincount(group)
        ahead = _mean(points, group) - position
        length = np.linalg.norm(ahead, axis=1) + 1e-6
        # Vessels turn slowly: a branch keeps some of the direction of its stem, but for the last
        # part to its end.
        ahead = _unit(
            ahead / length[:, None] + np.where(count > 1, INERTIA, 0.0)[:, None] * heading
        )
        # Branch before the nearest end is passed, so that no branch has to run back.
        progress = ((points - position[group]) * ahead[group]).sum(axis=1)
        nearest = np.full(len(count), np.inf)
        np.minimum.at(nearest, group, progress)
        step = np.clip(0.95 * nearest, 0.22 * length, 0.6 * length)
        step[count == 1] = length[count == 1]
        jitter = rng.normal(0, 0.03, ahead.shape) * (length * (count > 1))[:, None]
        node = position + ahead * step[:, None] + jitter
        parents.append(above)
        positions.append(node)
        headings.append(ahead)
        loads.append(count)
        index = made + np.arange(len(count))
        made += len(count)
        keep = count[group] > 1
        points, group = points[keep], group[keep]
        if not len(points):
            break
        group, branch = _divide(rng, points, group, ahead)
        above, position, heading = index[branch], node[branch], ahead[branch]
    radius = end_radius * np.concatenate(loads) ** power
    return Tree(
        np.concatenate(parents), np.concatenate(positions), np.concatenate(headings), radius
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _mean(points: np.ndarray, group: np.ndarray, size: int = 0) -> np.ndarray:
    count = np.maximum(np.bincount(group, minlength=size), 1)
    return np.stack([np.bincount(group, c, size) for c in points.T], axis=1) / count[:, None]


def _divide(rng, points, group, ahead):
    """Cut every group of points in two, along the way that the branch goes.

    Returns the new group of every point, and for every new group the old one.
    """
    size = len(ahead)
    count = np.bincount(group, minlength=size)
    offset = points - _mean(points, group, size)[group]
    offset -= 0.6 * ahead[group] * (offset * ahead[group]).sum(axis=1, keepdims=True)
    spread = _mean(offset**2, group, size) * rng.uniform(0.6, 1.4, (size, 3))
    along = offset[np.arange(len(points)), spread.argmax(axis=1)[group]]
    order = np.lexsort((along, group))
    rank = np.empty(len(points), int)
    rank[order] = np.arange(len(points)) - (np.cumsum(count) - count)[group[order]]
    # Uneven parts: a stem goes on and gives off branches, and does not fork evenly all the time.
    uneven = rng.uniform(0.12, 0.5, size)
    uneven = np.where(rng.random(size) < 0.5, uneven, 1 - uneven)
    cut = np.clip(np.round(count * uneven), 1, np.maximum(count - 1, 1))
    used, new_group = np.unique(group * 2 + (rank >= cut[group]), return_inverse=True)
    return new_group, used // 2


def sample_branches(tree: Tree, smallest: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Choose points (n, 3) and radii (n) close together along all branches.

    Branches are bent, so that they leave their stems without a kink.
    """
    pick = np.flatnonzero(tree.radius >= smallest)
    pick = pick[pick > 0]
    parent = tree.parent[pick]
    start, end = tree.position[parent], tree.position[pick]
    length = np.linalg.norm(end - start, axis=1)
    leave, arrive = (tree.heading[node] * (0.33 * length)[:, None] for node in (parent, pick))
    steps = np.maximum((length / np.clip(tree.radius[pick] * 0.7, 0.9, 2)).astype(int), 2)
    which = np.repeat(np.arange(len(pick)), steps)
    t = (np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)) / np.repeat(
        steps, steps
    )
    t = t[:, None]
    points = (1 - t) ** 2 * ((1 + 2 * t) * start[which] + 3 * t * leave[which])
    points += t**2 * ((3 - 2 * t) * end[which] - 3 * (1 - t) * arrive[which])
    from_radius = np.minimum(tree.radius[parent], tree.radius[pick] * 1.25)
    radius = from_radius[which] * (1 - t[:, 0]) + tree.radius[pick][which] * t[:, 0]
    return points, radius


def draw_balls(
    target: np.ndarray, points: np.ndarray, radius: np.ndarray, origin: np.ndarray, step: np.ndarray
) -> None:
    """Draw balls into ``target`` (uint8, axes z, y, x; 255 is full), keeping the larger value.

    ``origin`` is (x, y, z) of the first voxel centre, ``step`` the distance of voxels, both in mm.
    """
    flat = target.reshape(-1)
    shape = np.array(target.shape[::-1])
    sizes = np.ceil(radius * 4) / 4
    for size in np.unique(sizes):
        chosen = sizes == size
        place = (points[chosen] - origin) / step
        base = np.round(place).astype(np.int32)
        reach = np.floor((size + 0.8) / step + 0.5).astype(int)
        inside = ((base >= reach) & (base < shape - reach)).all(axis=1)
        place, base, r = place[inside], base[inside], radius[chosen][inside].astype(np.float32)
        axes = [np.arange(-n, n + 1) for n in reach]
        square = [
            (((a[None] + base[:, i : i + 1] - place[:, i : i + 1]) * step[i]) ** 2).astype(
                np.float32
            )
            for i, a in enumerate(axes)
        ]
        thin = np.clip(0.12 + 0.8 * r, 0, 1) * 255
        for dz in range(len(axes[2])):
            distance = np.sqrt(
                square[0][:, None, :] + square[1][:, :, None] + square[2][:, dz, None, None]
            )
            share = np.clip((r[:, None, None] - distance) / 1.6 + 0.5, 0, 1) * thin[:, None, None]
            index = (
                ((base[:, 2] + axes[2][dz]) * shape[1] + base[:, 1])[:, None, None]
                + axes[1][None, :, None]
            ) * shape[0] + (base[:, 0][:, None, None] + axes[0][None, None, :])
            seen = share > 2
            np.maximum.at(flat, index[seen], share[seen].astype(np.uint8))


class LungTree:
    """Vessels and bronchi of both lungs, each a list of (points (n, 3), radii (n)) in mm."""

    def __init__(self, rng: np.random.Generator, ends: dict[str, np.ndarray], to_patient) -> None:
        """``ends``: points (n, 3) per lobe, mm.

        ``to_patient`` turns points of the average chest into those of the patient.
        """
        self.vessels, self.walls, self.lumens, self.fine_lumens = [], [], [], []
        for lobe, points in ends.items():
            artery, bronchus, vein, radius = HILA[lobe]
            roots = to_patient(np.array([artery, bronchus, vein], float))
            half = len(points) * 5 // 9
            arteries = grow_tree(rng, roots[0], points[:half], radius, 0.44)
            veins = grow_tree(rng, roots[2], points[half:], radius * 0.95, 0.44)
            self.vessels += [sample_branches(arteries), sample_branches(veins)]
            self._bronchi(rng, arteries, roots)

    def _bronchi(self, rng: np.random.Generator, arteries: Tree, roots: np.ndarray) -> None:
        """A bronchus runs beside every artery: the pair that radiologists know as a signet ring."""
        shift = roots[1] - roots[0]
        aside = shift / max(np.linalg.norm(shift), 1e-6) + rng.normal(0, 0.2, 3)
        aside /= np.linalg.norm(aside)
        position = arteries.position + aside * (arteries.radius * 1.9 + 0.9)[:, None]
        position[0] = roots[1]
        tree = Tree(arteries.parent, position, arteries.heading, arteries.radius * 0.78)
        points, radius = sample_branches(tree, 0.95)
        self.lumens.append((points, radius))
        self.walls.append((points, radius + np.clip(0.25 * radius, 0.5, 1.0)))
        points, radius = sample_branches(tree, 0.4)
        self.fine_lumens.append((points, 1.3 * radius))

    def keep_near(self, centre: np.ndarray, distance: float) -> None:
        """Forget the finest bronchi far from ``centre``: only dense lung shows the air in them."""
        near = [
            np.linalg.norm(points - centre, axis=1) < distance for points, _ in self.fine_lumens
        ]
        self.fine_lumens = [(p[k], r[k]) for (p, r), k in zip(self.fine_lumens, near, strict=True)]
