"""``python -m supple``: the command line."""

import sys

from supple.cli import main

sys.exit(main())
