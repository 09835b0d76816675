"""Rubbish of every kind, made by rules and by chance: what must hold whatever comes."""
