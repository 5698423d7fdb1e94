"""Weights of R231's size that find lungs, made from the bundled ones.

They are not R231's weights: speed and memory are the same, accuracy is not.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def stand_in_weights(folder: Path) -> Path:
    """Write a state dict of R231's size.

    Its first channels are those of the bundled network, its others are zero.

    Returns
    -------
    Path
        ``unet_standin-<first 8 digits of its SHA-256>.pth``, named as PyTorch names weights.
    """
    import torch
    from safetensors.torch import load_file

    from magician.segmentation import networks

    with networks.quiet_lungmask():
        state = {
            name: torch.zeros_like(value)
            for name, value in networks.build_unet(wf=6).state_dict().items()
        }
    small = load_file(networks.BUNDLED)
    for name, value in state.items():
        if name.endswith("running_var"):
            value.fill_(1)
        if name not in small:
            continue
        source = small[name].to(value.dtype)
        # half its inputs come from below, half from the side
        if source.ndim == 4 and ".conv_block.block.0." in name:
            half, wide = source.shape[1] // 2, value.shape[1] // 2
            value[: source.shape[0], :half] = source[:, :half]
            value[: source.shape[0], wide : wide + half] = source[:, half:]
        else:
            value[tuple(slice(n) for n in source.shape)] = source
    path = folder / "unet_standin.pth"
    torch.save(state, path)
    return path.rename(
        folder / f"unet_standin-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    )
