"""Raw text → tokens once, in shards on disk, and read from there.

``sources`` finds text, ``text`` makes documents of it, ``blocks`` tokens; ``build`` writes shards,
``files`` says what is in them, ``rows`` reads them; ``sample`` estimates.
"""

from tinybert.corpus.blocks import token_blocks
from tinybert.corpus.build import build_corpus
from tinybert.corpus.files import is_corpus, read_manifest
from tinybert.corpus.rows import CorpusRows, hold_out_documents, open_corpus
from tinybert.corpus.sources import find_sources
from tinybert.corpus.text import documents_of

__all__ = [
    "CorpusRows",
    "build_corpus",
    "documents_of",
    "find_sources",
    "hold_out_documents",
    "is_corpus",
    "open_corpus",
    "read_manifest",
    "token_blocks",
]
