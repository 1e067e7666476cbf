"""``python -m misoflow``."""

from misoflow.cli import main

main()
