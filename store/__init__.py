"""The data: what a zone is and how it is kept. Knows no JSON-RPC and no HTTP."""
