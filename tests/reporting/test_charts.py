"""Charts: every point where the scale puts it, names apart, nothing unescaped."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import pages
from tinybert.reporting.charts import Line, line_chart, scatter
from tinybert.reporting.png import LEVELS, picture
from tinybert.reporting.scales import Scale, apart, fitted

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=20))
def test_all_values_lie_on_a_fitted_scale(values: list[float]) -> None:
    scale = fitted(values)
    assert all(-1e-9 <= scale.place(value) <= 1 + 1e-9 for value in values)
    ticks = scale.ticks()
    assert ticks == sorted(ticks)
    assert all(scale.low - 1e-6 <= t <= scale.high + abs(scale.high) * 1e-6 + 1e-6 for t in ticks)
    assert len(ticks) < 15


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_names_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    found = apart(places, 0.08)
    ordered = sorted(found)
    assert all(b - a >= 0.08 - 1e-5 for a, b in pairwise(ordered))
    for i, one in enumerate(places):
        for j, other in enumerate(places):
            assert one >= other or found[i] < found[j]
    if all(b - a >= 0.08 for a, b in pairwise(sorted(places))):
        assert found == pytest.approx(places, abs=1e-5)


def test_orders_of_magnitude_take_a_logarithmic_scale() -> None:
    scale = fitted([0.001, 0.01, 10])
    assert scale.logarithmic
    assert scale.ticks() == [0.001, 0.01, 0.1, 1, 10]
    assert not fitted([0.0, 10]).logarithmic
    assert not fitted([-5, 10]).logarithmic
    assert math.isclose(scale.place(0.1) - scale.place(0.01), scale.place(1) - scale.place(0.1))


def test_a_line_goes_through_its_points() -> None:
    points = [(10, 1.0), (20, 3.0), (40, 2.0)]
    seen = pages.read(str(line_chart([Line("loss", points, "s-loss")], "Loss")))
    (path,) = (has["d"] for name, has in seen.tags if has.get("class") == "line")
    drawn = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    scale = fitted([1.0, 2.0, 3.0])
    for (x, y), (at_x, at_y) in zip(points, drawn, strict=True):
        assert at_x == pytest.approx(1000 * (x - 10) / 30, abs=0.6)
        assert at_y == pytest.approx(1000 * (1 - scale.place(y)), abs=0.6)
    assert "loss, step 20: 3" in seen.words
    assert not seen.having("span", "name")  # one line needs no name


def test_several_lines_are_named_and_everything_is_escaped() -> None:
    lines = [
        Line("<b>a</b>", [(1, 1.0)], "s-loss"),
        Line('"b"', [(1, 1.0), (2, 2.0)], "s-hidden"),
    ]
    chart = str(line_chart(lines, 'a "label" <i>'))
    seen = pages.read(chart)
    assert "<b>" not in chart
    assert "<b>a</b>" in seen.words
    assert seen.having("div", "plot")[0]["aria-label"] == 'a "label" <i>'
    heights = [has["style"] for has in seen.having("span", "name")]
    assert len(set(heights)) == 2


def test_a_scatter_has_a_dot_a_row() -> None:
    scale = Scale(0, 10)
    seen = pages.read(str(scatter([(0, 0), (5, 10)], "s-student", "values", scale)))
    (cloud,) = (has["d"] for _, has in seen.tags if has.get("class") == "cloud s-student")
    assert cloud == "M0 1000h0M500 0h0"


def test_pictures_hold_the_square_root_of_every_cell() -> None:
    values = np.array([[0.0, 1.0, 0.25], [0.04, 2.0, -1.0]])
    address = picture(values)
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        (check,) = struct.unpack(">I", data[place + 8 + size : place + 12 + size])
        assert check == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + size
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (3, 2)
    assert len(chunks[b"PLTE"]) == 3 * LEVELS
    pixels = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(2, 4)[:, 1:]
    wanted = np.rint((LEVELS - 1) * np.sqrt([[0, 1, 0.25], [0.04, 1, 0]]))
    assert (pixels == wanted).all()
