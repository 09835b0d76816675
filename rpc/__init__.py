"""The protocol: names, shapes, codes, and its clients. Knows no SQL, and no sockets but those of the client."""
