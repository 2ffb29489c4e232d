"""Vocabularies cut to what given text needs: tokenizer and embeddings, together.

``kinds`` knows what each kind of vocabulary cannot do without, ``counting`` what text uses,
``choosing`` which pieces stay; ``rewriting`` and ``embeddings`` cut, ``coverage`` compares;
``cut`` does all of it, from a model directory to a model directory.
"""

from tinybert.vocabulary.card import vocabulary_told
from tinybert.vocabulary.cut import VocabularyReport, cut_by_texts, cut_vocabulary, lines_of
from tinybert.vocabulary.trained import trained_facts

__all__ = [
    "VocabularyReport",
    "cut_by_texts",
    "cut_vocabulary",
    "lines_of",
    "trained_facts",
    "vocabulary_told",
]
