"""The measuring half: a Case comes in, a Record goes out. Knows torch, never the report."""
