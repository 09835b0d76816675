"""The whole store against a plain model of it."""
