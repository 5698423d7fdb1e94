"""R231: lungmask's masks, and weights that are fetched once and never trusted more than data.

No test downloads R231. Stand-in weights of its size, made from the bundled network, come from a
server on loopback.
"""

from __future__ import annotations

import hashlib
import http.server
import logging
import os
import threading

import numpy as np
import pytest
from helpers import ct_series, write_series
from orthanc import free_port
from stand_in import stand_in_weights

from magician.ct.volume import CTVolume, read_series
from magician.errors import WeightsUnavailable
from magician.segmentation import networks, r231
from magician.segmentation.lungs import segment_lungs


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return stand_in_weights(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """Four slices of the small phantom, stretched to the size of a chest."""
    volume = read_series(write_series(ct_series(), tmp_path_factory.mktemp("chest")))
    scale = np.diag([2, 2, 2, 1])
    return CTVolume(
        volume.hu[2:6], (), tuple(2 * mm for mm in volume.spacing_mm), scale @ volume.affine
    )


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """A cache of its own for every test: the user's may hold R231."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(
        r231, "ADDRESS", f"http://127.0.0.1:{free_port()}/nobody-there/unet_r231-d5d2fc3d.pth"
    )
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def site(monkeypatch):
    """A web server on loopback that answers each request with the same bytes."""
    requests = []

    def serve(content: bytes, name: str, announced: int | None = None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(announced or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(r231, "ADDRESS", f"http://127.0.0.1:{server.server_port}/{name}")
        return requests

    servers = []
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def run(volume, **options):
    return segment_lungs(
        volume, **({"model": "R231", "precision": "fp32", "progress": False} | options)
    )


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# ------------------------------------------------------------------ the same masks


def test_masks_are_those_of_lungmask(chest, stand_in):
    ours = run(chest, weights=stand_in, device="cpu")
    with networks.quiet_lungmask():
        from lungmask.mask import LMInferer

        theirs = LMInferer(modelpath=str(stand_in), force_cpu=True, tqdm_disable=True).apply(
            chest.hu
        )
    assert theirs.any()
    assert np.array_equal(ours.labels, theirs)
    assert (ours.model_name, ours.model_version) == ("R231", ours.weights_sha256[:8])


# ------------------------------------------------------------------ the download


def test_the_address_is_the_one_that_lungmask_uses(monkeypatch):
    monkeypatch.undo()
    with networks.quiet_lungmask():
        from lungmask.mask import MODEL_URLS
    assert MODEL_URLS["R231"][0] == r231.ADDRESS
    assert r231.HASH_IN_NAME.search(r231.ADDRESS)[1] == "d5d2fc3d"


def test_weights_are_fetched_once_after_the_licence_note_and_their_hash_is_recorded(
    chest, stand_in, site, empty_cache, capsys
):
    requests = site(stand_in.read_bytes(), stand_in.name)
    first = run(chest, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (
        0 <= shown.err.index("GPL-3.0") < shown.err.index("R231 weights") < shown.err.index("U-Net")
    )
    full = hashlib.sha256(stand_in.read_bytes()).hexdigest()
    assert first.weights_sha256 == full
    assert files(empty_cache) == [stand_in.name, f"{stand_in.name}.sha256"]
    assert (empty_cache / f"{stand_in.name}.sha256").read_text() == f"{full}  {stand_in.name}\n"
    again = run(chest)
    assert np.array_equal(again.labels, first.labels)
    assert requests == [f"/{stand_in.name}"]


def test_a_page_in_place_of_the_weights_is_refused(chest, site, empty_cache):
    site(b"<html>Please sign in to the hospital's proxy</html>", "unet_r231-d5d2fc3d.pth")
    with pytest.raises(WeightsUnavailable, match="not with d5d2fc3d.*proxy") as raised:
        run(chest)
    assert "weights=" in str(raised.value)
    assert files(empty_cache) == []


def test_a_connection_that_breaks_off_leaves_nothing(chest, stand_in, site, empty_cache):
    content = stand_in.read_bytes()
    site(content[:1_000_000], stand_in.name, announced=len(content))
    with pytest.raises(WeightsUnavailable, match=r"could not be fetched.*1000000"):
        run(chest)
    assert files(empty_cache) == []


def test_an_interrupt_leaves_nothing(chest, stand_in, site, empty_cache, monkeypatch):
    site(stand_in.read_bytes(), stand_in.name)
    from tqdm.auto import tqdm

    def interrupt(*_):
        assert any(name.endswith(".part") for name in files(empty_cache))
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(chest)
    assert files(empty_cache) == []


def test_an_endless_answer_is_cut_off(chest, site, empty_cache, monkeypatch):
    monkeypatch.setattr(r231, "LARGEST", 100_000)
    site(bytes(1_000_000), "unet_r231-d5d2fc3d.pth")
    with pytest.raises(WeightsUnavailable, match="more than"):
        run(chest)
    assert files(empty_cache) == []


def test_without_internet_it_says_how_to_bring_the_weights(chest, empty_cache):
    with pytest.raises(WeightsUnavailable, match="could not be fetched") as raised:
        run(chest)
    assert "weights='that/folder/unet_r231-d5d2fc3d.pth'" in str(raised.value)
    assert "GPL-3.0" in str(raised.value)
    assert files(empty_cache) == []


def test_nothing_is_fetched_for_what_is_no_chest(chest, stand_in, site):
    from magician.errors import SegmentationError

    requests = site(stand_in.read_bytes(), stand_in.name)
    with pytest.raises(SegmentationError, match="Rescale"):
        run(CTVolume(np.zeros_like(chest.hu), (), chest.spacing_mm, chest.affine))
    assert requests == []


# ------------------------------------------------------------------ files that are not R231


def test_weights_that_changed_since_their_first_use(chest, stand_in, empty_cache):
    empty_cache.mkdir(parents=True)
    cached = empty_cache / stand_in.name
    cached.write_bytes(stand_in.read_bytes())
    cached.with_name(f"{cached.name}.sha256").write_text(f"{'0' * 64}  {cached.name}\n")
    with pytest.raises(WeightsUnavailable, match="has changed since its first use"):
        run(chest, weights=cached)


def test_a_name_with_another_hash_is_refused_before_anything_is_read(chest, tmp_path):
    import torch

    doctored, trace = tmp_path / "unet_r231-d5d2fc3d.pth", tmp_path / "was-run"
    torch.save({"last.weight": Payload(trace)}, doctored)
    with pytest.raises(WeightsUnavailable, match="not what its name says"):
        run(chest, weights=doctored)
    assert not trace.exists()


@pytest.mark.parametrize("model", ["bundled", "R231"])
def test_code_in_a_weights_file_is_never_run(chest, model, tmp_path):
    import torch

    doctored, trace = tmp_path / "weights.pth", tmp_path / "was-run"
    torch.save({"last.weight": Payload(trace)}, doctored)
    with pytest.raises(WeightsUnavailable, match="does not hold weights"):
        run(chest, model=model, weights=doctored)
    assert not trace.exists()
    torch.load(doctored, weights_only=False)  # the payload is real
    assert trace.exists()


def test_a_name_without_a_hash_is_used_and_reported(chest, stand_in, tmp_path, caplog):
    unnamed = tmp_path / "ours.pth"
    unnamed.write_bytes(stand_in.read_bytes())
    with caplog.at_level(logging.WARNING, "magician"):
        assert run(chest, weights=unnamed).labels.any()
    assert "does not carry a hash" in caplog.text
    # the folder is the user's, not our cache
    assert not unnamed.with_name("ours.pth.sha256").exists()
