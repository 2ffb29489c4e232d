"""Which columns are texts, and which is the label: as named, or guessed and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tinybert.errors import TinybertError
from tinybert.tasks.reading.sources import Part

__all__ = ["Columns", "check_column", "choose_columns", "is_label_name"]

_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("query", "passage"),
    ("question", "sentence"),
    ("question", "answer"),
    ("question", "context"),
)
_SINGLES = ("text", "sentence", "content", "review", "comment", "document", "question", "query")
_LABELS = (
    "label",
    "labels",
    "gold_label",
    "class",
    "target",
    "score",
    "category",
    "sentiment",
    "rating",
    "topic",
)


@dataclass(frozen=True)
class Columns:
    """The columns of a task.

    Attributes:
        text: one or two names.
        label: a name; ``None`` without labels.
        guessed_text, guessed_label: whether they are guesses.
    """

    text: tuple[str, ...]
    label: str | None
    guessed_text: bool
    guessed_label: bool

    @property
    def all(self) -> tuple[str, ...]:
        return self.text if self.label is None else (*self.text, self.label)

    @contextmanager
    def about_label(self) -> Iterator[None]:
        """Errors about a label column that was guessed say so, with the way out."""
        try:
            yield
        except TinybertError as error:
            if not self.guessed_label:
                raise
            raise TinybertError(
                f"{error} (that '{self.label}' is the label was guessed: name another column with "
                "--label)"
            ) from None

    @contextmanager
    def about_text(self) -> Iterator[None]:
        """The same for text columns."""
        try:
            yield
        except TinybertError as error:
            if not self.guessed_text:
                raise
            raise TinybertError(
                f"{error} (that {_named(self.text)} is the text was guessed: name another column "
                "with --text)"
            ) from None


def choose_columns(
    part: Part,
    text: str | Sequence[str] | None,
    label: str | None,
    notes: list[str],
    taken: Sequence[str] = (),
) -> Columns:
    """The columns that were named; guesses for the rest, added to ``notes``.

    ``taken`` are further label columns, which are no text whatever they are called.

    Raises:
        TinybertError: no such column; the same column twice; nothing that looks like a text.
    """
    texts = _text_columns(part, text, [*taken, *([label] if label else [])])
    if text is None:
        notes.append(f"text: {'column' if len(texts) == 1 else 'columns'} {_named(texts)}")
    if label is not None:
        check_column(part, label, "label")
        if label in texts:
            raise TinybertError(f"column '{label}' cannot be both text and label: name another")
        return Columns(texts, label, text is None, False)
    by_name = {name.casefold(): name for name in part.columns if name not in texts}
    guess = next((by_name[name] for name in _LABELS if name in by_name), None)
    if guess is None:
        others = ", ".join(name for name in part.columns if name not in texts) or "none"
        notes.append(
            f"no label column found among the other columns ({others}): rows without labels "
            "(name the column with --label)"
        )
        if text is None and any(len(name.split()) > 3 for name in texts):
            notes.append("a column's name looks like a text: is the header line missing?")
    else:
        notes.append(f"label: column '{guess}'")
    return Columns(texts, guess, text is None, True)


def is_label_name(name: str) -> bool:
    """Whether a column of this name is taken for the label."""
    return name.casefold() in _LABELS


def check_column(part: Part, name: str, what: str) -> None:
    """Raises ``TinybertError`` where a file of the part has no such column."""
    for shard in part.shards:
        if name not in shard.columns:
            raise TinybertError(
                f"{shard.name} has no {what} column '{name}': there are {', '.join(shard.columns)}"
            )


def _text_columns(
    part: Part, text: str | Sequence[str] | None, labels: Sequence[str]
) -> tuple[str, ...]:
    if text is not None:
        # A name with a comma in it is that column, if there is one.
        names = [text] if isinstance(text, str) and text in part.columns else text
        asked = names.split(",") if isinstance(names, str) else list(names)
        columns = tuple(name.strip() for name in asked if name.strip())
        for name in columns:
            check_column(part, name, "text")
        if len(set(columns)) < len(columns) or len(columns) not in (1, 2):
            raise TinybertError(f"text columns '{text}': name one column, or two different ones")
        return columns
    by_name = {name.casefold(): name for name in part.columns if name not in labels}
    for pair in _PAIRS:
        if all(name in by_name for name in pair):
            return tuple(by_name[name] for name in pair)
    for name in _SINGLES:
        if name in by_name:
            return (by_name[name],)
    rest = [
        name
        for name in by_name.values()
        if not is_label_name(name) and name in part.shards[0].wordy
    ]
    if len(rest) == 1:
        return (rest[0],)
    raise TinybertError(
        f"{part.name}: which column is the text? name it with --text; there are "
        f"{', '.join(part.columns)}"
    )


def _named(columns: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in columns)
