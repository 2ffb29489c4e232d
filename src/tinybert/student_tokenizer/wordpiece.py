"""A WordPiece vocabulary trained on text, the same one whenever the text is the same.

The trainer of word-pieces in `tokenizers` breaks ties by chance, and a run that is resumed has to
find the same vocabulary again. Its trainer of byte-pair merges does not, as long as pieces carry
no prefix: so words get a mark in front, merges are learned, and pieces with the mark begin a word
while all others continue one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.student_tokenizer.loading import ROLES, wrapped

__all__ = ["train_wordpiece"]

_MARK = "▁"
_MOST_CHARACTERS = 1000
"""Characters of their own at most, as BERT's trainers have it; rarer ones become unknown."""

_LEAST_OCCURRENCES = 2


def train_wordpiece(
    texts: Iterable[str], size: int, teacher: PreTrainedTokenizerBase
) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer of ``size`` pieces.

    It writes text as the teacher's does as to case and accents, and has the names of the teacher's
    special tokens, in the order of their ids.

    Args:
        texts: read twice, so no iterator; order does not matter.
        size: pieces in all, specials and single characters included.
        teacher: the teacher's tokenizer.

    Raises:
        TinybertError: the text gives fewer pieces, or the characters alone are more.
    """
    specials = _specials(teacher)
    normalizer = _normalizer(teacher)
    characters = _characters(texts, normalizer)
    room = size - len(specials)
    # A character begins words and continues them, two pieces each: half is left for longer ones.
    most = max(1, min(_MOST_CHARACTERS, room // 4))
    kept = sorted(characters, key=lambda c: (-characters[c], c))[:most]
    if not kept:
        raise TinybertError("the text to train a tokenizer on has no characters: give other text.")
    pieces = list(dict.fromkeys([*specials, *sorted(kept), *sorted(f"##{c}" for c in kept)]))
    if len(pieces) > size:
        raise TinybertError(
            f"--vocabulary-size {size} has no room for anything but characters: ask for "
            f"{4 * len(pieces)} or more."
        )
    known = set(pieces)
    for piece in _merged(texts, normalizer, kept, size):
        if len(pieces) == size:
            break
        if piece not in known:
            known.add(piece)
            pieces.append(piece)
    if len(pieces) < size:
        raise TinybertError(
            f"the text gives {len(pieces):,} pieces and --vocabulary-size asks for {size:,}: ask "
            f"for {len(pieces)} or fewer, or give more text with --corpus."
        )
    unknown = str(teacher.unk_token or "[UNK]")
    model = models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token=unknown)
    engine = Tokenizer(model)
    engine.normalizer = normalizer
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece(prefix="##")
    return wrapped(engine, teacher)


def _specials(teacher: PreTrainedTokenizerBase) -> list[str]:
    """Special tokens in the order of the teacher's ids: padding keeps its place where it can."""
    names = {str(t) for role in ROLES if (t := getattr(teacher, f"{role}_token")) is not None}
    names.add(str(teacher.unk_token or "[UNK]"))
    ids = teacher.get_vocab()
    return sorted(names, key=lambda name: (ids.get(name, len(ids)), name))


def _normalizer(teacher: PreTrainedTokenizerBase) -> Any:
    """What the teacher does to text before it is cut: BERT's own, or one that agrees with it."""
    own = teacher.backend_tokenizer.normalizer
    if own is not None:
        data = json.loads(teacher.backend_tokenizer.to_str())["normalizer"]
        if data["type"] == "BertNormalizer":
            return normalizers.BertNormalizer(**{k: v for k, v in data.items() if k != "type"})

    def same(one: str, other: str) -> bool:
        return bool(teacher(one)["input_ids"] == teacher(other)["input_ids"])

    return normalizers.BertNormalizer(
        lowercase=same("The House", "the house"), strip_accents=same("un été", "un ete")
    )


def _characters(texts: Iterable[str], normalizer: Any) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    return Counter({c: n for c, n in counts.items() if not c.isspace() and c != _MARK})


def _merged(
    texts: Iterable[str], normalizer: Any, characters: list[str], size: int
) -> Iterator[str]:
    """Longer pieces as WordPiece writes them, the most useful first."""
    engine = Tokenizer(models.BPE())
    engine.normalizer = normalizer
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.Metaspace(replacement=_MARK, prepend_scheme="always", split=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=_LEAST_OCCURRENCES,
        initial_alphabet=[*characters, _MARK],
        limit_alphabet=len(characters) + 1,
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    for piece, _ in sorted(engine.get_vocab().items(), key=lambda item: item[1]):
        if piece.startswith(_MARK):
            if len(piece) > 1:
                yield piece[1:]
        else:
            yield f"##{piece}"
