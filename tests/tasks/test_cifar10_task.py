"""The pre-trained ResNets: their published accuracy, and what is done without data."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supple.errors import DataError, TaskError
from supple.measure.accuracy import Accuracy
from supple.progress import Event
from supple.tasks import cifar10, load
from supple.tasks._resnet_cifar import CifarResNet


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The two official sources on this machine, with few images and random weights."""
    folder = tmp_path / "source"
    folder.mkdir()
    handler = partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"

    archive = folder / "cifar-10-binary.tar.gz"
    archive.write_bytes(_archive())
    md5 = "md5:" + hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "IMAGES", (url + archive.name, md5))

    weights = io.BytesIO()
    state = {f"module.{k}": v for k, v in CifarResNet(blocks=3).state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.7}, weights)
    digest = hashlib.sha256(weights.getvalue()).hexdigest()
    (folder / f"resnet20-{digest[:8]}.th").write_bytes(weights.getvalue())
    monkeypatch.setattr(cifar10, "WEIGHTS_URL", url)
    monkeypatch.setitem(cifar10.WEIGHTS, "resnet20", digest)
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def _records(count: int, seed: int) -> np.ndarray:
    records = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records


def _archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as files:
        for name, count, seed in (("data_batch_1.bin", 100, 0), ("test_batch.bin", 30, 1)):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            body = _records(count, seed).tobytes()
            info.size = len(body)
            files.addfile(info, io.BytesIO(body))
    return content.getvalue()


ACCURACY = {"resnet20": 0.9165, "resnet32": 0.9270, "resnet44": 0.9330, "resnet56": 0.9295}


def _test_accuracy(model: str) -> float:
    task = load("cifar10", model=model)
    assert task.test is not None
    return Accuracy(loader=task.test(), metric=task.metric).measure(task.model()).value


def test_resnet20_has_its_published_accuracy_on_these_images(real_data: Path) -> None:
    assert _test_accuracy("resnet20") == ACCURACY["resnet20"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet32", "resnet44", "resnet56"])
def test_the_others_have_theirs(model: str, real_data: Path) -> None:
    assert _test_accuracy(model) == ACCURACY[model]


@pytest.mark.parametrize(("valid_images", "train"), [(2000, 8000), (1000, 9000)])
def test_held_out_images_are_fixed_stratified_and_not_trained_on(
    valid_images: int, train: int, real_data: Path
) -> None:
    data = cifar10._Data(valid_images=valid_images, batch_size=128, seed=0)
    held_out, rest = data._held_out
    assert (len(held_out), len(rest)) == (valid_images, train)
    assert np.array_equal(np.sort(np.concatenate([held_out, rest])), np.arange(10_000))
    classes = np.bincount(data._arrays["y_train"]) / 10_000
    shares = np.bincount(data._arrays["y_train"][held_out]) / valid_images
    assert np.abs(classes - shares).max() < 2 / valid_images
    other = cifar10._Data(valid_images=valid_images, batch_size=64, seed=9)._held_out[0]
    assert np.array_equal(held_out, other)


def test_training_images_are_cropped_from_black_borders(real_data: Path) -> None:
    task = load("cifar10", batch_size=64)
    inputs, targets = next(iter(task.train()))
    assert inputs.shape == (64, 3, 32, 32)
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    corners = inputs[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    is_black = (corners - black[:, None]).abs().amax(1) < 1e-6
    assert 0.8 < is_black.any(1).float().mean() <= 1
    assert torch.equal(next(iter(task.train()))[0], inputs)


def test_without_data_both_are_fetched_once_and_told_of(source: Path, empty_data: Path) -> None:
    task = load("cifar10", model="resnet20", valid_images=20)
    events: list[Event] = []
    assert task.prepare is not None
    assert task.test is not None
    task.prepare(progress=events.append)
    assert {event.message.split("-")[0] for event in events} == {
        "downloading cifar",
        "downloading resnet20",
    }
    for file in source.iterdir():
        file.unlink()
    inputs, targets = zip(*task.test(), strict=True)
    expected = _records(30, 1)
    assert torch.equal(torch.cat(targets), torch.from_numpy(expected[:, 0]).long())
    mean, std = torch.tensor(cifar10._MEAN), torch.tensor(cifar10._STD)
    pixels = torch.cat(inputs).permute(0, 2, 3, 1) * std + mean
    planes = expected[:, 1:].reshape(30, 3, 32, 32).transpose(0, 2, 3, 1) / 255
    torch.testing.assert_close(pixels.double(), torch.from_numpy(planes), atol=1e-5, rtol=0)
    assert sum(len(y) for _, y in task.train()) == 80
    assert task.model()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    names = {str(p.relative_to(empty_data)) for p in empty_data.rglob("*.npz")}
    assert names == {"cifar10/cifar10.npz", "pretrained_resnet_cifar10/resnet20.npz"}


def test_a_published_file_put_by_hand_is_used(source: Path, empty_data: Path) -> None:
    (empty_data / "cifar10").mkdir()
    archive = source / "cifar-10-binary.tar.gz"
    archive.rename(empty_data / "cifar10" / archive.name)
    assert sum(len(y) for _, y in load("cifar10", valid_images=20).train()) == 80


def test_where_the_source_cannot_be_reached_the_file_and_its_place_are_named(
    source: Path, empty_data: Path
) -> None:
    for file in source.iterdir():
        file.unlink()
    task = load("cifar10", model="resnet20")
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        task.train()
    assert "put it at cifar10/cifar-10-binary.tar.gz in a folder" in caught.value.hint
    assert "SUPPLE_DATA" in caught.value.hint
    with pytest.raises(DataError, match=r"resnet20-.*\.th cannot be downloaded") as caught:
        task.model()
    assert "put it at pretrained_resnet_cifar10/resnet20-" in caught.value.hint


def test_the_user_s_cache_serves_where_no_folder_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPPLE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load("cifar10").model()
    kept = tmp_path / "cache" / "supple" / "pretrained_resnet_cifar10" / "resnet20.npz"
    assert kept.is_file()


def test_damaged_files_say_so_and_what_to_do(source: Path, empty_data: Path) -> None:
    task = load("cifar10", model="resnet20", valid_images=20)
    assert task.prepare is not None
    task.prepare()
    images = empty_data / "cifar10" / "cifar10.npz"
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read") as caught:
        task.valid()
    assert str(images) in str(caught.value)
    assert "delete it" in caught.value.hint
    weights = empty_data / "pretrained_resnet_cifar10" / "resnet20.npz"
    np.savez(weights, **{"conv1.weight": np.zeros(3)})
    with pytest.raises(DataError, match="does not hold the weights of resnet20"):
        task.model()


def test_a_damaged_archive_says_so(source: Path, empty_data: Path) -> None:
    (empty_data / "cifar10").mkdir()
    (empty_data / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(_archive()[:5000])
    with pytest.raises(DataError, match="archive .* cannot be read"):
        load("cifar10", valid_images=20).train()


def test_options_are_checked() -> None:
    with pytest.raises(TaskError, match="no model 'resnet65'") as caught:
        load("cifar10", model="resnet65")
    assert "'resnet56'" in caught.value.hint
    with pytest.raises(TaskError, match="valid_images=20000"):
        load("cifar10", valid_images="20000")
    with pytest.raises(TaskError, match="no option 'modle'"):
        load("cifar10", modle="resnet20")


def test_the_description_says_that_held_out_images_flatter() -> None:
    text = load("cifar10", model="resnet56").description
    assert "ResNet-56" in text
    assert "seen all of them" in text
