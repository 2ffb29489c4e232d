"""Distillation on augmented rows: checked against the rows that they are copies of, and mapped."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tinybert.augmentation.shards import Manifest, read_manifest
from tinybert.augmentation.tokens import open_tokens, write_tokens
from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.jobs.rows import TaskRows
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings
from tinybert.stages import Run

__all__ = ["augmented_rows", "augmented_tokens"]


def augmented_rows(directory: Path | None, rows: TaskRows, reporter: Reporter) -> Manifest | None:
    """What is known of the augmentation in ``directory``; None where none was asked for.

    Raises:
        TinybertError: no augmentation there, or one of other rows: copies of rows that are chosen
            or reported on would let the student see them.
    """
    if directory is None:
        return None
    manifest = read_manifest(directory)
    if manifest.rows != rows.texts:
        raise TinybertError(
            f"{directory} holds copies of other rows than these training rows: augment them with "
            "the same --data, --dev, --test, --dev-share, --task, --text, --rows and --seed."
        )
    counts = manifest.counts
    reporter.say(
        f"learning from {counts.total:,} rows: {counts.rows:,} and {counts.copies:,} copies of "
        f"them ({manifest.recipe.get('mode')})"
    )
    return manifest


def augmented_tokens(
    run: Run,
    settings: DistillSettings,
    manifest: Manifest,
    rows: TaskRows,
    tokenizer: PreTrainedTokenizerBase,
    own: PreTrainedTokenizerBase | None = None,
) -> TokenRows:
    """Originals and copies as tokens: written into the run once, read from there.

    ``own`` is the student's tokenizer where it is another one than the teacher's.
    """
    directory = Path(str(settings.augment)).expanduser()

    def make(place: Path) -> None:
        with run.reporter.track(
            manifest.counts.total, "tokenizing copies", unit="rows"
        ) as progress:
            write_tokens(
                directory,
                manifest,
                own or tokenizer,
                settings.max_length,
                place,
                progress.advance,
                teacher=None if own is None else tokenizer,
            )

    place = run.made("augmented", make)
    found = open_tokens(place, rows.train)
    if len(found) != manifest.counts.total:
        raise TinybertError(
            f"{directory} holds {len(found):,} rows and says it has {manifest.counts.total:,}: "
            "augment the rows again."
        )
    return found
