"""The WordPiece vocabulary of the authors' checkpoints as a tokenizer."""

from __future__ import annotations

import re
from pathlib import Path

from transformers import BertTokenizer

from tinybert.errors import TinybertError
from tinybert.original.checkpoint import Checkpoint

__all__ = ["read_tokenizer"]

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_tokenizer(
    checkpoint: Checkpoint, vocabulary: Path | None = None, lower_case: bool | None = None
) -> tuple[BertTokenizer, str]:
    """The WordPiece tokenizer of a checkpoint, and a sentence on it.

    Args:
        vocabulary: file with one piece a line; the checkpoint's ``vocab.txt`` where not given.
        lower_case: whether text is lower-cased (and stripped of accents). Checkpoints do not say
            so; where not given, it is if no piece has a capital letter.

    Raises:
        TinybertError: no such file, pieces are missing, or there are more than embeddings.
    """
    file = vocabulary or checkpoint.directory / "vocab.txt"
    if not file.is_file():
        raise TinybertError(f"there is no vocabulary {file}: give it with --vocab FILE.")
    try:
        with file.open(encoding="utf-8") as stream:  # not splitlines(): U+2028 may be a piece
            pieces = [line.rstrip("\n") for line in stream]
    except UnicodeDecodeError as error:
        raise TinybertError(f"{file} is not UTF-8: it is no vocabulary.") from error
    while pieces and not pieces[-1]:
        pieces.pop()
    places = {piece: i for i, piece in enumerate(pieces)}
    if missing := [piece for piece in _SPECIALS if piece not in places]:
        raise TinybertError(f"{file} lacks {', '.join(missing)}: it is no vocabulary of a BERT.")
    size = checkpoint.config["vocab_size"]
    if len(pieces) > size:
        raise TinybertError(
            f"{file} has {len(pieces)} pieces and the model {size} embeddings: give the model's "
            "own vocabulary with --vocab."
        )
    why = "as asked"
    if lower_case is None:
        # Not isupper(): BERT's uncased vocabulary has ℝ, which is its own lower case.
        capitals = any(p != p.lower() for p in pieces if not re.match(r"\[.*\]$", p))
        lower_case = not capitals
        why = "its pieces have capitals" if capitals else "no piece has a capital"
    length = checkpoint.config["max_position_embeddings"]
    tokenizer = BertTokenizer(vocab=places, do_lower_case=lower_case, model_max_length=length)
    note = f"vocabulary of {len(pieces)} pieces, text {'' if lower_case else 'not '}lower-cased"
    if len(pieces) < size:
        why += f"; {size - len(pieces)} embeddings have no piece"
    return tokenizer, f"{note} ({why})"
