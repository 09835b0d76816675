"""What only the engine over PostgreSQL has, and the server that its tests run against."""
