"""Candidates for words of one piece, from a masked language model (TinyBERT, Algorithm 1).

Each word is masked alone and guessed. The work is cut into batches that follow from the sentences
alone: all masked copies of one length, so that there is no padding, in a fixed number of rows. On
a CPU a batch runs on one thread, several at a time. So the logits, to the last bit, depend neither
on the number of threads or processes nor on where a run was stopped, and ties are settled by the
tokens' ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.augmentation.words import Sentence, Word
from tinybert.errors import TinybertError
from tinybert.taps import logits_at, use_attention
from tinybert.teachers import has_masked_lm_head, load_encoder, load_tokenizer

__all__ = ["Choice", "Guesser", "best_tokens", "load_masked_lm"]

BATCH_TOKENS, BATCH_TOKENS_GPU = 1024, 16384
"""Tokens of a batch. It is no setting: other batches give other last bits, and other ties."""


@dataclass(frozen=True)
class Choice:
    """Which guesses may stand for a word.

    Attributes:
        k: how many are taken (K).
        start: (vocabulary,) bool, tokens that may stand where a word begins.
        inner: (vocabulary,) bool, tokens that may stand inside, in scripts without spaces.
        same: (vocabulary,) int, tokens of one number are one word, however they are written.
        itself: whether the word itself may come back.
        filter_first: take the k best of those that may stand (the paper); else the k best of
            all, less those that may not (the authors' code).
    """

    k: int
    start: NDArray[np.bool_]
    inner: NDArray[np.bool_]
    same: NDArray[np.int64]
    itself: bool = False
    filter_first: bool = True


class _Masked(NamedTuple):
    """One masked copy: word ``word`` of sentence ``sentence``."""

    sentence: int
    word: int


def load_masked_lm(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A masked language model in float32, in eval mode, with its tokenizer.

    Raises:
        TinybertError: no model, none with an output head, or no mask token.
    """
    tokenizer = load_tokenizer(path)
    tokenizer.truncation_side = "right"  # the words that are read are the first ones
    if tokenizer.mask_token_id is None:
        raise TinybertError(
            f"the tokenizer of {path} has no mask token, so this is no masked language model: give "
            "another with --masked-lm."
        )
    if not has_masked_lm_head(path):
        raise TinybertError(
            f"{path} has no output head to guess words with: make one with `tinybert mlm --model "
            f"{path} --corpus TEXT --output OUTPUT`, and give OUTPUT as --masked-lm."
        )
    model = load_encoder(path, masked_lm=True)
    if model.config.vocab_size < len(tokenizer):
        raise TinybertError(
            f"the tokenizer of {path} has {len(tokenizer):,} pieces and its model "
            f"{model.config.vocab_size:,}: they do not belong together."
        )
    cast(nn.Module, model).train(False)
    return model, tokenizer


class Guesser:
    """A masked language model, ready to guess.

    Args:
        model: from :func:`load_masked_lm`; it is changed: precision, form of attention, device.
        tokenizer: its tokenizer.
        precision: float32 or bfloat16.
        device: where it runs.
        threads: batches at a time on a CPU; changes no result.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        precision: str = "float32",
        device: torch.device | str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.on_cpu = self.device.type == "cpu"
        model.requires_grad_(False)
        if model._can_set_attn_implementation():
            # Written out it is faster at the length of a sentence on a CPU.
            use_attention(model, "direct" if self.on_cpu else "fused")
        cast(nn.Module, model).to(self.device)
        if precision == "bfloat16":
            cast(nn.Module, model).to(torch.bfloat16)
        self.model, self.mask = model, int(cast(int, tokenizer.mask_token_id))
        self.pieces = len(tokenizer)
        self.takes_types = "token_type_ids" in tokenizer.model_input_names
        self.threads = threads or torch.get_num_threads()

    def guesses(
        self,
        sentences: Sequence[Sentence],
        wanted: Callable[[Word], bool],
        choice: Choice,
        advance: Callable[[int], None] | None = None,
    ) -> list[dict[int, NDArray[np.int32]]]:
        """Candidates of every wanted word of one piece.

        Args:
            sentences: one unit of work: the same sentences together give the same answer.
            wanted: which words are replaced at all.
            choice: what may stand for them.
            advance: told the number of words done.

        Returns:
            for each sentence {number of the word: token ids, most probable first}.
        """
        found: list[dict[int, NDArray[np.int32]]] = [{} for _ in sentences]
        batches = list(self._batches(sentences, wanted))
        with self._one_thread_each() as run:
            results = run(lambda batch: self._guess(sentences, batch, choice), batches)
            for batch, ids in zip(batches, results, strict=True):
                for masked, taken in zip(batch, ids, strict=True):
                    found[masked.sentence][masked.word] = taken
                if advance is not None:
                    advance(len(batch))
        return found

    def _batches(
        self, sentences: Sequence[Sentence], wanted: Callable[[Word], bool]
    ) -> Iterator[list[_Masked]]:
        """Masked copies of equal length, in order; how many follows from the length alone."""
        by_length: dict[int, list[_Masked]] = {}
        for number, sentence in enumerate(sentences):
            for place, word in enumerate(sentence.words):
                if word.place is not None and wanted(word):
                    by_length.setdefault(len(sentence.ids), []).append(_Masked(number, place))
        budget = BATCH_TOKENS if self.on_cpu else BATCH_TOKENS_GPU
        for length in sorted(by_length, reverse=True):
            size = max(1, budget // length)
            copies = by_length[length]
            for start in range(0, len(copies), size):
                yield copies[start : start + size]

    @contextmanager
    def _one_thread_each(self) -> Iterator[Callable[..., Any]]:
        """Something that maps a function over batches, in order: on a CPU, a batch a thread."""
        if not self.on_cpu:
            yield map
            return
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(
                self.threads, initializer=lambda: torch.set_num_threads(1)
            ) as pool:
                yield pool.map
        finally:
            torch.set_num_threads(before)

    @torch.no_grad()
    def _guess(
        self, sentences: Sequence[Sentence], batch: Sequence[_Masked], choice: Choice
    ) -> list[NDArray[np.int32]]:
        rows = np.array([sentences[m.sentence].ids for m in batch], dtype=np.int64)
        places = np.array([_place(sentences, m) for m in batch])
        numbers = np.arange(len(batch))
        own = rows[numbers, places]
        rows[numbers, places] = self.mask
        positions = np.zeros(rows.shape, dtype=bool)
        positions[numbers, places] = True
        inputs = {"input_ids": torch.from_numpy(rows).to(self.device)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if self.takes_types:
            types = [sentences[m.sentence].type_ids or [0] * rows.shape[1] for m in batch]
            inputs["token_type_ids"] = torch.tensor(types, device=self.device)
        logits = logits_at(self.model, inputs, torch.from_numpy(positions).to(self.device))
        return best_tokens(logits[:, : self.pieces].float(), own, choice)


def _place(sentences: Sequence[Sentence], masked: _Masked) -> int:
    place = sentences[masked.sentence].words[masked.word].place
    assert place is not None
    return place


def best_tokens(logits: Tensor, own: NDArray[np.int64], choice: Choice) -> list[NDArray[np.int32]]:
    """The k most probable tokens of each row that may stand for ``own``; ties by lower id.

    Args:
        logits: (rows, vocabulary) float32.
        own: (rows,) token ids of the words that were masked.

    Returns:
        for each row at most k ids, best first.
    """
    device = logits.device
    continuing = choice.inner[own]  # a piece inside a word: its neighbours are written on to it
    allowed = torch.from_numpy(
        np.where(continuing[:, None], choice.inner[None], choice.start[None])
    ).to(device)
    if not choice.itself:
        allowed &= torch.from_numpy(choice.same[None] != choice.same[own][:, None]).to(device)
    if choice.filter_first:
        logits = logits.masked_fill(~allowed, -torch.inf)
    k = min(choice.k, logits.shape[1])
    least = logits.topk(k, dim=1).values[:, -1:]
    # All that reach the k-th value, ties included, as (row, token), ascending.
    reach = (logits >= least) & (logits > -torch.inf)
    rows, tokens = (part.cpu().numpy() for part in reach.nonzero(as_tuple=True))
    values = logits[reach].cpu().numpy()
    order = np.lexsort((tokens, -values, rows))
    rows, tokens = rows[order], tokens[order]
    starts = np.searchsorted(rows, np.arange(len(own) + 1))
    taken = [tokens[a : min(b, a + k)] for a, b in pairwise(starts)]
    if not choice.filter_first:
        kept = allowed.cpu().numpy()
        taken = [ids[kept[row, ids]] for row, ids in enumerate(taken)]
    return [ids.astype(np.int32) for ids in taken]
