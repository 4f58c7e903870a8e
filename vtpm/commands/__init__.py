"""Part 3, in its order: importing a chapter adds its commands to the table."""
# isort: skip_file

from vtpm.commands import startup  # 9 Start-up
from vtpm.commands import random  # 16 Random number generator
from vtpm.commands.table import COMMANDS, Command

__all__ = ["COMMANDS", "Command", "random", "startup"]
