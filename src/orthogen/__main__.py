"""``python -m orthogen`` is ``orthogen``."""

import sys

from orthogen.cli import main

if __name__ == "__main__":
    sys.exit(main())
