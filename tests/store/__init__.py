"""The data: rules, engine and what works beside it."""
