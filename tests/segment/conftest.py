"""Makes ``kit`` importable: pytest imports test files one by one and knows no packages here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
