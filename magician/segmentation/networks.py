"""The two lung networks: the bundled one and R231, both of lungmask's architecture.

Weights are data, never code. The bundled ones are a safetensors file. R231's are a pickle, which
could run any command; ``weights_only=True`` refuses everything but tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from magician.errors import WeightsUnavailable, WrongArgument
from magician.segmentation import r231

if TYPE_CHECKING:
    import torch

UNKNOWN = "not told"
BUNDLED = Path(__file__).parent / "weights" / "lung_unet.safetensors"


@dataclass(frozen=True)
class Network:
    """A network that is ready to run, and the origin of its weights."""

    module: torch.nn.Module
    name: str
    version: str
    sha256: str
    trained_on: str


@contextlib.contextmanager
def quiet_lungmask() -> Iterator[None]:
    """Import lungmask and silence its logger; keep Python's warnings filters as they are.

    The import of ``lungmask.mask`` adds a filter that hides every UserWarning of the process, those
    of the caller, too.
    """
    logger = logging.getLogger("lungmask")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our users can't change what its imports warn of
        import lungmask.mask  # noqa: F401

        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.setLevel(level)


def load_network(
    model: str, weights: str | Path | None, device: torch.device, progress: bool
) -> Network:
    """Load a network; one that was loaded before from the same file is still in memory.

    Parameters
    ----------
    model : str
        ``"bundled"`` or ``"R231"``.
    weights : path, optional
        A file to use instead of the bundled weights, or instead of R231's in the cache. If R231's
        weights are not in the cache, they are fetched.
    device : torch.device
    progress : bool
        Show a progress bar while R231's weights are fetched.

    Raises
    ------
    WeightsUnavailable
        If the file is missing, can't be fetched, or does not hold weights of this network.
    ValueError
        If there is no such model.
    """
    if model not in ("bundled", "R231"):
        raise WrongArgument(f"model must be 'bundled' or 'R231', not {model!r}")
    if weights is not None:
        path = Path(weights).expanduser()
    else:
        path = r231.find_or_fetch(progress) if model == "R231" else BUNDLED
    if not path.is_file():
        raise WeightsUnavailable(
            f"There is no file {path} with weights for {model!r}. "
            + (
                r231.usage_note()
                if model == "R231"
                else "Reinstall magician, or name another file."
            )
        )
    status = path.stat()
    return _load(model, path.resolve(), (status.st_mtime_ns, status.st_size), device)


@lru_cache(maxsize=2)
def _load(model: str, path: Path, _stamp: tuple[int, int], device: torch.device) -> Network:
    import torch

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if model == "R231":
        r231.check_identity(path, sha256)
    try:
        module, version, trained_on = (
            _bundled(content) if model == "bundled" else _r231_network(content, sha256)
        )
    except Exception as error:  # torch and safetensors raise a dozen unrelated classes here
        details = str(error).splitlines()[0] if str(error) else "no details"
        expected = "a state dict saved by PyTorch" if model == "R231" else "a safetensors file"
        raise WeightsUnavailable(
            f"{path} does not hold weights of the network {model!r} ({type(error).__name__}: "
            f"{details}). Nothing in it was run. Expected was {expected}; "
            f"fetch it again, from a source that you trust."
        ) from error
    _reduce_work(module)
    module.eval().to(device=device, memory_format=torch.channels_last)
    return Network(module, model, version or sha256[:8], sha256, trained_on)


def _bundled(content: bytes) -> tuple[torch.nn.Module, str, str]:
    import json

    from safetensors.torch import load

    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load(content).items()
    }
    # A safetensors file begins with the length of its header, 8 bytes, and the header in JSON
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    module = build_unet(wf=4)
    missing, unknown = module.load_state_dict(tensors, strict=False)
    # lungmask's blocks have residual_* layers that this form of the network never uses: the file
    # does not hold them
    if unknown or any("residual_" not in name for name in missing):
        raise ValueError("the names of its tensors are those of another network")
    metadata = header.get("__metadata__", {})
    phantoms = json.loads(metadata.get("training", "{}")).get("phantoms")
    trained_on = f"{phantoms} computed phantoms, no patient" if phantoms else UNKNOWN
    return module, metadata.get("version", ""), trained_on


def _r231_network(content: bytes, sha256: str) -> tuple[torch.nn.Module, str, str]:
    import torch

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    module = build_unet(wf=6)
    module.load_state_dict(state)
    return module, "", r231.TRAINED_ON if sha256.startswith(r231.hash_in_address()) else UNKNOWN


def _reduce_work(module: torch.nn.Module) -> None:
    """Reduce the work for the same outcome: fewer copies, and convolutions on a quarter of pixels.

    The 1 x 1 convolutions are moved before the upsampling. The two may be exchanged: the
    convolution works on each pixel alone, and the weights of bilinear interpolation sum to one.
    """
    from torch.nn import ReLU, Sequential

    for block in module.up_path:
        upsample, convolution = block.up
        block.up = Sequential(convolution, upsample)
    for layer in module.modules():
        if isinstance(layer, ReLU):
            layer.inplace = True


def build_unet(wf: int) -> torch.nn.Module:
    """Return the U-Net of lungmask with ``2**wf`` filters in its first layer.

    The architecture is that of Hofmanninger et al. 2020, arXiv:2001.11767.
    """
    from lungmask.resunet import UNet

    return UNet(
        n_classes=3,
        in_channels=1,
        depth=5,
        wf=wf,
        padding=True,
        batch_norm=True,
        up_mode="upsample",
    )
