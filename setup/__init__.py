"""Everything about a host: who it is, what it has, what runs there. The laptop side; never torch."""
