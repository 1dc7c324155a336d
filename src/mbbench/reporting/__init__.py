"""The reporting half: everything a reader sees, as functions of Records. Knows pandas, never torch."""
