"""Imported once before processes are forked: loads what ``torch.export`` loads when first used."""

import torch

from supple.trace import all_rules

torch.set_num_threads(1)
torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),), strict=False)
all_rules()
