"""The process: everything that knows of a process, a port, a person."""
