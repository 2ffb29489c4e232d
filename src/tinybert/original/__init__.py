"""The checkpoints of the TinyBERT authors' own code, as models and projections of this package.

Such a directory holds ``pytorch_model.bin`` (a state dict), ``config.json`` or ``bert_config.json``
and ``vocab.txt``. A task model carries a ``classifier`` that reads relu(pooled), see
:mod:`tinybert.relu_bert`. The projections to the teacher's width are one linear map with a bias:
``fit_dense``, shared by the embedding output and all layers, in earlier checkpoints; one each,
``fit_denses.0`` (the embedding output) to ``fit_denses.M``, in later ones.
"""

from tinybert.original.checkpoint import Checkpoint, read_checkpoint
from tinybert.original.conversion import Converted, convert_checkpoint
from tinybert.original.vocabulary import read_tokenizer

__all__ = ["Checkpoint", "Converted", "convert_checkpoint", "read_checkpoint", "read_tokenizer"]
