"""Sentences to word pieces, as BERT reads them (uncased)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from supple.errors import DataError, MissingExtraError

__all__ = ["word_pieces"]


def word_pieces(
    sentences: Sequence[str], vocabulary: Path, *, length: int
) -> tuple[Tensor, Tensor]:
    """Word pieces and mask of sentences, all of one length.

    A sentence is ``[CLS] pieces [SEP]``, cut off where it is longer and filled up with ``[PAD]``
    where it is shorter.

    Args:
        sentences: N texts.
        vocabulary: The file with one piece a line.
        length: Pieces in a row.

    Returns:
        The pieces' numbers (N, length) and, of the same shape, 1 where a piece is and 0 where the
        sentence was filled up; int64.

    Raises:
        MissingExtraError: The package ``tokenizers`` is not installed.
        DataError: The vocabulary is not one.
    """
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "text", "The task 'text'") from error
    try:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    except Exception as error:  # the library raises plain Exception
        raise DataError(
            f"The vocabulary '{vocabulary}' cannot be read: {error}.",
            why="It is damaged, or not a list of word pieces.",
            hint="delete it, and it is fetched again; or put an intact copy in its place",
            path=str(vocabulary),
        ) from error
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encoded = tokenizer.encode_batch(list(sentences))
    ids = torch.tensor([one.ids for one in encoded], dtype=torch.int64)
    mask = torch.tensor([one.attention_mask for one in encoded], dtype=torch.int64)
    return ids.view(-1, length), mask.view(-1, length)
