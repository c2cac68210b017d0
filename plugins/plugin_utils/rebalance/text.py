# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan for people."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.report import table


def plan_lines(plan, verbose=False):
    """A plan as lines of text. Pure."""
    lines = []
    for group in plan["groups"]:
        lines.append("node group %s: score %.6f -> %.6f (lower bound %.6f)" % (group["name"], group["score"], group["end"], group["bound"]))
        if verbose:
            lines += ["  %-25s %12.6f -> %12.6f  x%.2f" % (key, value, group["end_metrics"][key], group["weights"][key])
                      for key, value in group["metrics"].items() if value or group["end_metrics"][key]]
    rows = [[move.get("batch", ""), move["name"], " ".join(move["from"]), " ".join(move["to"]),
             ", ".join(" ".join(str(step[key]) for key in ("do", "target", "new_node") if key in step) for step in move["steps"]),
             "%.1f GiB" % move["copy_gib"], "" if move["score"] is None else "%.6f" % move["score"]] for move in plan["moves"]]
    if rows:
        lines += table(["BATCH", "INSTANCE", "FROM", "TO", "STEPS", "COPIED", "SCORE"], rows).splitlines()
        lines.append("%d moves: %.1f GiB to copy, %d migrations" % (len(rows), plan["copy_gib"], plan["migrations"]))
    for one in plan["groups"]:
        most = one["most_of_the_gain"]
        if 0 < most["moves"] < len(rows):
            lines.append("the first %d moves in group %s bring 90 %% of the gain (%.1f GiB, %d migrations): gantry_balance_limit=%d" % (
                most["moves"], one["name"], most["copy_gib"], most["migrations"], most["moves"]))
    if not plan["instances"]:
        lines.append("nothing is to be moved")
    moving = {move["name"] for move in plan["moves"]}
    for one in plan["instances"]:
        if one["name"] not in moving:
            lines.append("%s: %s" % (one["name"], ", but ".join(word for word in (one["why"], one["left"]) if word)))
    return lines + plan["notes"]
