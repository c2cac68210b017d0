# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster itself: its playbooks run twice, and what they tell."""

from __future__ import annotations


def test_second_run_of_cluster_init_and_node_add_changes_nothing(clean):
    for verb, extra in (("cluster_init", {"cluster_name": "test.example.com"}), ("node_add", {"all": True})):
        run = clean.play(verb, **extra)
        assert run.ok and run.changed == 0, run.text
