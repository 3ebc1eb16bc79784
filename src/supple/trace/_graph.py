"""Small facts about graphs of ATen calls: what a call writes, and what shares memory with what."""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["clean", "module_path", "memory_of", "named_arguments", "writes"]
