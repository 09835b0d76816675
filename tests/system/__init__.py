"""What a person gets: the whole daemon, on real data, as a process of its own."""
