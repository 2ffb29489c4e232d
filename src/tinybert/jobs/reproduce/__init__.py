"""Systems x tasks x seeds: cells that are made once and kept, and one table of all of them."""

from tinybert.jobs.reproduce.run import run_reproduce

__all__ = ["run_reproduce"]
