"""What makes a student directory ready for others: its model card, and the way to the Hub."""

from tinybert.export.card import CARD_FILE, model_card, write_card
from tinybert.export.hub import (
    check_private,
    check_repository,
    push_directory,
    upload_command,
)

__all__ = [
    "CARD_FILE",
    "check_private",
    "check_repository",
    "model_card",
    "push_directory",
    "upload_command",
    "write_card",
]
