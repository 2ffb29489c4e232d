"""A tokenizer for a student: read from a directory, the Hub or a file, and made ready to serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tinybert.errors import TinybertError
from tinybert.teachers import load_tokenizer

__all__ = ["ROLES", "read_tokenizer", "ready_tokenizer", "same_tokens", "wrapped"]

ROLES = ("cls", "sep", "pad", "mask", "unk")
_USUAL = {
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>"),
    "unk": ("[UNK]", "<unk>"),
}


def read_tokenizer(path: str | Path, teacher: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer at ``path``: a directory, a ``tokenizer.json``, or a name of the Hub.

    A bare ``tokenizer.json`` does not say which token plays which role: the names of the teacher's
    are looked for, then the usual ones.

    Raises:
        TinybertError: there is none that can be read.
    """
    where = Path(path).expanduser()
    if not where.is_file():
        return load_tokenizer(where if where.exists() else path)
    try:
        engine = Tokenizer.from_file(str(where))
    except Exception as error:
        raise TinybertError(
            f"{path} is no tokenizer that can be read ({str(error)[:120]}): give a tokenizer.json, "
            "or a directory written by tokenizer.save_pretrained()."
        ) from error
    return wrapped(engine, teacher, around=engine.post_processor is None)


def wrapped(
    engine: Tokenizer, teacher: PreTrainedTokenizerBase, *, around: bool = True
) -> PreTrainedTokenizerBase:
    """An engine with special tokens named as the teacher's, or as usual.

    Args:
        engine: changed in place.
        teacher: the teacher's tokenizer.
        around: put CLS and SEP around texts.
    """
    pieces = engine.get_vocab()
    names: dict[str, Any] = {}
    for role in ROLES:
        own = getattr(teacher, f"{role}_token")
        for name in (own, *_USUAL[role]):
            if name is not None and str(name) in pieces:
                names[role] = str(name)
                break
    if around and {"cls", "sep"} <= names.keys():
        cls, sep = names["cls"], names["sep"]
        engine.post_processor = TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1",
            special_tokens=[(cls, pieces[cls]), (sep, pieces[sep])],
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=engine,
        model_max_length=teacher.model_max_length,
        **{f"{role}_token": name for role, name in names.items()},
    )


def ready_tokenizer(
    tokenizer: PreTrainedTokenizerBase, like: PreTrainedTokenizerBase
) -> PreTrainedTokenizerBase:
    """The same tokenizer, giving a student the inputs that its architecture takes.

    Token types above all: a model without them fails on a tokenizer that makes some.

    Args:
        tokenizer: changed in place.
        like: a tokenizer of a model of that architecture, such as the teacher's.
    """
    names = list(like.model_input_names)
    tokenizer.model_input_names = names
    tokenizer.init_kwargs["model_input_names"] = names
    if like.model_max_length < tokenizer.model_max_length:
        tokenizer.model_max_length = like.model_max_length
    return tokenizer


def same_tokens(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers cut text into the same ids, as far as their rules say."""
    if one.get_vocab() != other.get_vocab():
        return False
    return bool(_probe(one) == _probe(other))


def _probe(tokenizer: PreTrainedTokenizerBase) -> Any:
    text = "A naïve Ünïcode tëst: 1,234.5 (don't) 日本語 русский\tمرحبا 🙂 re-do THE"
    return tokenizer(text, verbose=False)["input_ids"]
