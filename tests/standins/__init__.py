"""Stand-ins for what the network would give: a conda channel, an index of wheels, a conda; used by real programs."""
