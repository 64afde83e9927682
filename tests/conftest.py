"""Makes the helper module golden_numbers importable by tests in any folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
