"""A directory for PYTHONPATH, and nothing else: the process that has it there has the clock of a file."""
