# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where instances go: pure arithmetic on numbers, knowing neither Ansible, libvirt nor a registry's backend.

The engine (balance, allocation, capacity, rolling reboots, squeeze) works on :class:`.model.Cluster`, which ``formats/`` make
of what there is; ``docs/placement.md`` explains it. :mod:`plugin_utils.allocator` is what the verbs ask.

Its modules import numpy, which takes longer than a controller step: what serves other verbs too imports them where it uses them.
"""
