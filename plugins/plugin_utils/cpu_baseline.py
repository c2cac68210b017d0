# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processor that every node of a cluster can give its guests: the best model that all of them have whole. Pure."""

from __future__ import annotations

import re

#: QEMU's models, the oldest first. Within a line a later one has what the earlier ones have; the lines do not mix.
LINES = (
    ("Conroe", "Penryn", "Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell", "Skylake-Client",
     "Skylake-Server", "Cascadelake-Server", "Cooperlake", "Icelake-Server", "SapphireRapids", "GraniteRapids", "SierraForest"),
    ("Opteron_G1", "Opteron_G2", "Opteron_G3", "Opteron_G4", "Opteron_G5", "EPYC", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"),
)

#: What every x86 node can be, when the lines have nothing in common.
FALLBACK = ("kvm64", "qemu64")


def family(model):
    """A model without what its name ends in: -noTSX, -IBRS, -IBPB, -v2."""
    return re.sub(r"(-(noTSX|IBRS|IBPB|v\d+))+$", "", model)


def best(lists):
    """The best model that stands in every list, or None.

    :param lists: for each node, the models that it can give a guest whole.
    """
    lists = [set(models) for models in lists]
    common = set.intersection(*lists) if lists else set()
    ranked = []
    for line in LINES:
        ranks = {name: rank for rank, name in enumerate(line)}
        ranked += [(ranks[family(model)], _extras(model), model) for model in common if family(model) in ranks]
    if ranked:
        return max(ranked)[2]
    return next((model for model in FALLBACK if model in common), None)


def _extras(model):
    """Of two models of a generation the one with the protections against speculation is better, and TSX only does harm."""
    return ("IBRS" in model or "IBPB" in model, "noTSX" in model, model)
