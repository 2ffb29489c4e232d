"""``python -m tinybert`` is ``tinybert``."""

from __future__ import annotations

from tinybert.cli import entry

if __name__ == "__main__":
    entry()
