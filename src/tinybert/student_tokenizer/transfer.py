"""Embeddings of a new vocabulary from an old one's, piece by piece.

A student is started in its teacher's vocabulary first (copied, or on principal axes), so that its
embeddings are the teacher's, projected. Then each new piece gets what its text had: the old piece
of the same text, else the mean of the old pieces that its text is cut into.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.pieces import Pieces, pieces_of
from tinybert.student_tokenizer.loading import ROLES

__all__ = ["Sources", "piece_sources", "with_vocabulary"]

_MORE_ROLES = ("bos", "eos")


@dataclass(frozen=True)
class Sources:
    """What each new piece is made of.

    Attributes:
        ids: old ids, flat: piece i is ``ids[offsets[i]:offsets[i + 1]]``.
        weights: of each of them; those of a piece add up to 1.
        offsets: (pieces + 1,).
        kept: new pieces that are old ones.
        unknown: new pieces of which the old vocabulary knows nothing.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    offsets: NDArray[np.int64]
    kept: int
    unknown: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def mixed(self, table: Tensor) -> Tensor:
        """(pieces, …) means of the rows of ``table`` (old pieces, …); a single row is copied."""
        counts = torch.from_numpy(np.diff(self.offsets))
        rows = table[torch.from_numpy(self.ids).to(table.device)].double()
        weights = torch.from_numpy(self.weights).to(table.device)
        place = torch.repeat_interleave(torch.arange(len(self)), counts).to(table.device)
        made = rows.new_zeros(len(self), *table.shape[1:])
        made.index_add_(0, place, rows * weights.view(-1, *[1] * (table.dim() - 1)))
        return made.to(table.dtype)


def piece_sources(new: PreTrainedTokenizerBase, old: PreTrainedTokenizerBase) -> Sources:
    """For each piece of ``new`` the pieces of ``old`` that stand for its text.

    Special tokens are matched by role (cls, sep, pad, mask, unk), other pieces by text and by
    whether they begin a word or continue one. A piece that has no twin is cut by the old tokenizer;
    one that continues a word into the longest pieces that do, from left to right. Its parts count
    by their length in characters.
    """
    ours, theirs = pieces_of(new), pieces_of(old)
    twins = _twins(new, old, ours, theirs)
    continuing = {
        theirs.surface[i]: i
        for i in reversed(range(len(theirs)))
        if theirs.surface[i] and theirs.continues[i]
    }
    unknown = old.unk_token_id
    alone = [i for i in range(len(ours)) if twins[i] is None]
    written = [ours.surface[i] for i in alone]
    cut = _cut_alone(old, written)
    ids: list[int] = []
    weights: list[float] = []
    offsets = [0]
    nothing = 0
    parts = dict(zip(alone, cut, strict=True))
    for i in range(len(ours)):
        twin = twins[i]
        if twin is not None:
            found = [(twin, 1.0)]
        else:
            found = _continued(old, ours.surface[i], continuing) if ours.continues[i] else []
            found = found or [(p, float(len(theirs.surface[p]) or 1)) for p in parts[i]]
            found = [part for part in found if part[0] != unknown]
        if not found:
            nothing += 1
            found = [(unknown if unknown is not None else 0, 1.0)]
        total = sum(weight for _, weight in found)
        ids += [part for part, _ in found]
        weights += [weight / total for _, weight in found]
        offsets.append(len(ids))
    return Sources(
        np.array(ids, dtype=np.int64),
        np.array(weights),
        np.array(offsets, dtype=np.int64),
        kept=sum(twin is not None for twin in twins),
        unknown=nothing,
    )


def _twins(
    new: PreTrainedTokenizerBase, old: PreTrainedTokenizerBase, ours: Pieces, theirs: Pieces
) -> list[int | None]:
    by_role = {
        getattr(new, f"{role}_token_id"): getattr(old, f"{role}_token_id")
        for role in (*_MORE_ROLES, *ROLES)
        if getattr(new, f"{role}_token_id") is not None
        and getattr(old, f"{role}_token_id") is not None
    }
    names = old.get_vocab()
    alike = _kind(new) == _kind(old)
    texts: dict[tuple[str, bool], int] = {}
    for i in reversed(range(len(theirs))):
        if theirs.surface[i]:
            texts[theirs.surface[i], bool(theirs.continues[i])] = i
    twins: list[int | None] = []
    for i, name in enumerate(new.convert_ids_to_tokens(list(range(len(ours))))):
        key = ours.surface[i], bool(ours.continues[i])
        if i in by_role:
            twins.append(by_role[i])
        elif (alike or ours.special[i] or not key[0]) and name in names:
            twins.append(names[name])
        else:
            twins.append(texts.get(key) if key[0] else None)
    return twins


def _kind(tokenizer: PreTrainedTokenizerBase) -> tuple[str, Any, bool]:
    """Two tokenizers of one kind write the same text of a piece in the same way."""
    engine = tokenizer.backend_tokenizer
    prefix = getattr(engine.model, "continuing_subword_prefix", None)
    return type(engine.model).__name__, prefix or None, "ByteLevel" in str(engine.pre_tokenizer)


def _cut_alone(old: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    found = old(texts, add_special_tokens=False, padding=False, verbose=False)["input_ids"]
    return [list(ids) for ids in found]


def _continued(
    old: PreTrainedTokenizerBase, text: str, pieces: dict[str, int]
) -> list[tuple[int, float]]:
    """Text that continues a word as the longest continuing pieces; nothing where there are none."""
    normalizer = old.backend_tokenizer.normalizer
    if normalizer is not None:
        text = normalizer.normalize_str(text).strip(" ▁")
    found: list[tuple[int, float]] = []
    start = 0
    while start < len(text):
        for end in range(len(text), start, -1):
            if text[start:end] in pieces:
                found.append((pieces[text[start:end]], float(end - start)))
                start = end
                break
        else:
            return []
    return found


@torch.no_grad()
def with_vocabulary(
    model: PreTrainedModel, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, Sources]:
    """The same model with the vocabulary of ``new``, its rows made of those it had.

    Whatever has a row a piece follows: input embeddings, output embeddings and their biases.
    Positions stay where they are, also where they are counted from the padding id on (RoBERTa): a
    larger id makes the table longer, so that as many tokens as before have a place.

    Args:
        model: a model of the vocabulary ``old``; stays as it is.
        old, new: tokenizers.

    Returns:
        The model in eval mode, and what its rows were made of.

    Raises:
        TinybertError: a tensor depends on the vocabulary in a way that is not understood.
    """
    sources = piece_sources(new, old)
    config = copy.deepcopy(model.config)
    config.vocab_size = len(sources)
    _name_roles(config, old, new)
    shifts = _position_shifts(model, config)
    if shifts:
        more = max(later - earlier for earlier, later in shifts.values())
        config.max_position_embeddings += max(more, 0)
    with torch.random.fork_rng(devices=[]):
        made: PreTrainedModel = type(model)(config)
    cast(nn.Module, made).to(model.dtype)
    whole = model.state_dict()
    follow = _of_vocabulary(model)
    state = {}
    for name, tensor in made.state_dict().items():
        held = whole[name]
        if name in follow:
            held = sources.mixed(held)
        elif name in shifts:
            held = _shifted(held, *shifts[name], len(tensor))
        if held.shape != tensor.shape:
            raise TinybertError(
                f"{type(model).__name__} has a tensor {name} of {list(held.shape)} that follows "
                "from its vocabulary in a way not known here: leave the student the teacher's "
                "vocabulary."
            )
        state[name] = held
    made.load_state_dict(state)
    made.train(False)
    return made, sources


def _of_vocabulary(model: PreTrainedModel) -> set[str]:
    """Names of the tensors with a row a piece: those that are longer in a larger vocabulary."""
    config = copy.deepcopy(model.config)
    config.vocab_size += 1
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        larger = type(model)(config).state_dict()
    held = model.state_dict()
    return {
        name
        for name, tensor in larger.items()
        if name in held and tensor.dim() and len(tensor) == len(held[name]) + 1
    }


def _name_roles(config: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> None:
    """Ids that a configuration names, such as ``pad_token_id``, as the new tokenizer counts."""
    places = {}
    for role in reversed((*ROLES, *_MORE_ROLES)):
        ids = [getattr(tokenizer, f"{role}_token_id") for tokenizer in (old, new)]
        if None not in ids:
            places[ids[0]] = ids[1]
    for key, value in config.to_dict().items():
        if key.endswith("_token_id") and isinstance(value, int):
            try:
                setattr(config, key, places.get(value))
            except StrictDataclassError:  # EuroBERT has to have a mask
                setattr(
                    config, key, new.pad_token_id if new.unk_token_id is None else new.unk_token_id
                )
    config.pad_token_id = new.pad_token_id


def _position_shifts(old: PreTrainedModel, config: Any) -> dict[str, tuple[int, int]]:
    """Tables of positions that are counted from the padding id on: name → that id, old and new."""
    found = {}
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        new = type(old)(copy.deepcopy(config))
    for name, module in new.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            theirs = cast(nn.Embedding, old.get_submodule(name)).padding_idx
            if theirs is not None and module.padding_idx not in (None, theirs):
                found[f"{name}.weight"] = theirs, module.padding_idx
    return found


def _shifted(table: Tensor, old: int, new: int, length: int) -> Tensor:
    """``length`` positions, which begin one after the padding id; rows before that are never read,
    and the last one is repeated where more are asked for."""
    places = torch.arange(length) - new + old
    return table[places.clamp(0, len(table) - 1)]
