"""A setting as a dataclass field: its help, its group and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tinybert.errors import TinybertError

__all__ = ["Checked", "setting"]


def setting(
    default: Any,
    help: str,
    group: str = "main",
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    usual: Any = None,
) -> Any:
    """A field with its help text, the group it is listed under, and bounds of its value.

    ``usual`` is what a default of None comes to where nothing else is asked.
    """
    metadata = {"help": help, "group": group, "least": least, "above": above, "most": most}
    metadata["usual"] = usual
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Checked:
    """Settings whose numbers are checked before anything else is done."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            bounds = item.metadata
            low, high = bounds.get("least"), bounds.get("most")
            above = bounds.get("above")
            if value is None or low is above is high is None:
                continue
            fits = (low is None or value >= low) and (above is None or value > above)
            if not fits or (high is not None and not value <= high):
                wanted = f"{low:g} or more" if above is None else f"more than {above:g}"
                if high is not None and above is not None:
                    wanted += f" and at most {high:g}"
                elif high is not None:
                    wanted = f"between {low:g} and {high:g}"
                flag = f"--{item.name.replace('_', '-')}"
                raise TinybertError(f"{flag} {value} makes no sense: it has to be {wanted}.")
