"""Why a declared bundle's network cannot be computed, for those that load it."""

from __future__ import annotations


class NotComputable(Exception):
    """The network cannot be loaded, or does not take such films."""
