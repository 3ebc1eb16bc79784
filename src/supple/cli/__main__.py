"""``python -m supple.cli`` is ``supple``."""

from supple.cli import main

raise SystemExit(main())
