"""A tokenizer of the student's own, and the embeddings that its pieces start from.

``wordpiece`` trains one on text, ``loading`` reads one and says whether it can serve, ``transfer``
gives a student its vocabulary.
"""

from tinybert.student_tokenizer.loading import read_tokenizer, ready_tokenizer, same_tokens
from tinybert.student_tokenizer.transfer import piece_sources, with_vocabulary
from tinybert.student_tokenizer.wordpiece import train_wordpiece

__all__ = [
    "piece_sources",
    "read_tokenizer",
    "ready_tokenizer",
    "same_tokens",
    "train_wordpiece",
    "with_vocabulary",
]
