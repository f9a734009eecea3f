"""The functions that the conformance suite runs, importable by name in any worker."""

from __future__ import annotations

import sys
from pathlib import Path

# Workers find functions by the name of their module, and tests are not a package.
sys.path.insert(0, str(Path(__file__).parent))
