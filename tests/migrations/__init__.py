"""Old data becomes today's sessions: on frozen directories, on odd ones, and whatever interrupts it."""
