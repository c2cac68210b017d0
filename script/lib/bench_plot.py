# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Growth of time with size, both axes logarithmic: as text and as SVG. Points are {name: [(size, seconds), …]}."""

from __future__ import annotations

import math
import statistics

WIDTH, HEIGHT = 68, 16
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def exponent(points):
    """Slope of the straight line through the logarithms: seconds grow with size to this power."""
    x = [math.log(size) for size, unused in points]
    y = [math.log(seconds) for unused, seconds in points]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    width = sum((one - mean_x) ** 2 for one in x)
    return sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y)) / width if width else float("nan")


def _above_start(points):
    """The larger half of the points: below, the start of the interpreter hides the growth."""
    return points[len(points) // 2 - (len(points) < 4):]


def _legend(points):
    return "seconds ~ size^%.2f, of the larger half size^%.2f" % (exponent(points), exponent(_above_start(points)))


def _scales(series):
    """Functions from size and from seconds to 0…1, and the powers of ten of both."""
    every = [point for points in series.values() for point in points]
    ends = []
    for axis in (0, 1):
        low = math.floor(math.log10(min(point[axis] for point in every)))
        high = math.ceil(math.log10(max(point[axis] for point in every)))
        ends.append((low, max(high, low + 1)))

    def scale(axis):
        low, high = ends[axis]
        return lambda value: (math.log10(value) - low) / (high - low)
    return scale(0), scale(1), ends


def as_text(series):
    """A plot of letters, the exponents below it."""
    across, up, ends = _scales(series)
    grid = [[" "] * (WIDTH + 1) for unused in range(HEIGHT + 1)]
    for letter, points in zip("abcdefgh", series.values()):
        for size, seconds in points:
            row, column = HEIGHT - round(up(seconds) * HEIGHT), round(across(size) * WIDTH)
            # Two on one spot: a star.
            grid[row][column] = letter if grid[row][column] == " " else "*"
    lines = ["Growth: processor seconds against nodes x instances"]
    for index, cells in enumerate(grid):
        label = ""
        for power in range(ends[1][0], ends[1][1] + 1):
            if HEIGHT - round(up(10.0 ** power) * HEIGHT) == index:
                label = "%g s" % 10.0 ** power
        lines.append("%8s |%s" % (label, "".join(cells).rstrip()))
    axis = [" "] * (WIDTH + 8)
    for power in range(ends[0][0], ends[0][1] + 1):
        column = round(across(10.0 ** power) * WIDTH)
        axis[column:column + 4] = "10^%d" % power
    lines += [" " * 9 + "+" + "-" * WIDTH, " " * 10 + "".join(axis).rstrip()]
    lines += ["%s  %-10s %s" % (letter, name, _legend(points)) for letter, (name, points) in zip("abcdefgh", series.items())]
    return "\n".join(lines)


def as_svg(series):
    """The same as an SVG document."""
    across, up, ends = _scales(series)
    left, top, width, height = 70, 20, 560, 360

    def place(size, seconds):
        return left + across(size) * width, top + height - up(seconds) * height

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 %d" font-family="sans-serif" font-size="12">'
             % (top + height + 60 + 18 * len(series)), '<rect width="100%" height="100%" fill="white"/>']
    for power in range(ends[0][0], ends[0][1] + 1):
        x = place(10.0 ** power, 1)[0]
        parts.append('<path d="M%.1f %dv%d" stroke="#ddd"/>' % (x, top, height))
        parts.append('<text x="%.1f" y="%d" text-anchor="middle">10^%d</text>' % (x, top + height + 16, power))
    for power in range(ends[1][0], ends[1][1] + 1):
        y = place(10.0 ** ends[0][0], 10.0 ** power)[1]
        parts.append('<path d="M%d %.1fh%d" stroke="#ddd"/>' % (left, y, width))
        parts.append('<text x="%d" y="%.1f" text-anchor="end">%g s</text>' % (left - 6, y + 4, 10.0 ** power))
    parts.append('<text x="%d" y="%d" text-anchor="middle">nodes × instances</text>' % (left + width // 2, top + height + 34))
    for index, (name, points) in enumerate(series.items()):
        colour, y = COLOURS[index % len(COLOURS)], top + height + 52 + 18 * index
        path = " ".join("%.1f,%.1f" % place(*point) for point in points)
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (path, colour))
        parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*place(*point), colour) for point in points]
        parts.append('<text x="%d" y="%d" fill="%s">%s: %s</text>' % (left, y, colour, name, _legend(points)))
    return "\n".join(parts + ["</svg>"]) + "\n"
