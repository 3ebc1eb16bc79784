"""Native extraction: the user's own classes, shrunk in place, where that gives the same network."""

from supple.elastic._native._extraction import Extraction, Prefer, checked_preference
from supple.elastic._native._native import Native

__all__ = ["Extraction", "Native", "Prefer", "checked_preference"]
