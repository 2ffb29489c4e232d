"""What makes a student directory ready for others: its model card."""

from tinybert.export.card import model_card, write_card

__all__ = ["model_card", "write_card"]
