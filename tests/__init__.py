"""What the daemon promises, and what holds the repository together."""
