"""A web page that answers as one types, made of an exported model."""

from tinybert.webpage.build import PageText, write_page
from tinybert.webpage.examples import example_texts, reads_pairs
from tinybert.webpage.model import WebModel, read_web_model
from tinybert.webpage.third_party import third_party_files

__all__ = [
    "PageText",
    "WebModel",
    "example_texts",
    "read_web_model",
    "reads_pairs",
    "third_party_files",
    "write_page",
]
