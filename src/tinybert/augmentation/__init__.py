"""Data augmentation: words replaced by a masked language model and word vectors (Algorithm 1)."""
