"""The protocol: names, shapes, codes. Knows no sockets and no SQL."""
