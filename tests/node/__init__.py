"""Programs in JavaScript and TypeScript, and how a test runs them."""
