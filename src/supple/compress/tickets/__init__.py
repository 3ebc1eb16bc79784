"""Tickets: sparse sub-networks that learn, or work, on their own.

`LotteryTickets` is the driver that all of them share: iterate, train, prune, rewind, with its
controls. Beside it are what is measured of tickets, and the methods built on them.
"""

from supple.compress.tickets._controls import (
    redrawn,
    rescaled_to_norm,
    shuffled,
    small_dense,
    weight_norm,
)
from supple.compress.tickets.activate import ActivateWhilePruning
from supple.compress.tickets.grokking import GrokkingMLP, ModularPairs, grokking_step, modular_pairs
from supple.compress.tickets.jackpot import Jackpot, JackpotResult
from supple.compress.tickets.lottery import LotteryTickets, Round, RoundPruner, Ticket, Tickets
from supple.compress.tickets.stability import interpolation_barrier, weight_angle, weight_distance
from supple.compress.tickets.super_ticket import (
    BNScaleL1,
    SuperTicket,
    SuperTicketResult,
    shrink,
    transfer_masks,
)

__all__ = [
    "ActivateWhilePruning",
    "BNScaleL1",
    "GrokkingMLP",
    "Jackpot",
    "JackpotResult",
    "LotteryTickets",
    "ModularPairs",
    "Round",
    "RoundPruner",
    "SuperTicket",
    "SuperTicketResult",
    "Ticket",
    "Tickets",
    "grokking_step",
    "interpolation_barrier",
    "modular_pairs",
    "redrawn",
    "rescaled_to_norm",
    "shrink",
    "shuffled",
    "small_dense",
    "transfer_masks",
    "weight_angle",
    "weight_distance",
    "weight_norm",
]
