"""``python -m tinybert`` is ``tinybert``."""

from __future__ import annotations

import sys

from tinybert.cli import main

if __name__ == "__main__":
    sys.exit(main())
