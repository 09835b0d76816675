"""What holds when something fails: the process, the disk, the data."""
