"""Contract checks that anybody can run on parts of their own.

``check_block`` runs all checks of a block and names every one that does not hold.
``parametrize_blocks`` makes one pytest test of each check::

    from supple.testing import BlockCase, parametrize_blocks

    CASES = {"plain": BlockCase(make=lambda: MyBlock(8, 6), example=torch.randn(4, 8))}

    @parametrize_blocks(CASES)
    def test_contract(check):
        check()
"""

from supple.testing._block_case import BlockCase
from supple.testing._block_checks import block_checks, check_block, parametrize_blocks

__all__ = ["BlockCase", "block_checks", "check_block", "parametrize_blocks"]
