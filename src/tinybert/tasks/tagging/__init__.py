"""Token classification: words with a tag each, such as named entities or parts of speech."""

from __future__ import annotations

from tinybert.tasks.tagging.entities import entities, entity_scores, tag_f1_rows
from tinybert.tasks.tagging.reader import read_tagged, read_tagged_scored
from tinybert.tasks.tagging.words import TaggedReading, tokenize_words

__all__ = [
    "TaggedReading",
    "entities",
    "entity_scores",
    "read_tagged",
    "read_tagged_scored",
    "tag_f1_rows",
    "tokenize_words",
]
