"""A small real cluster on this machine: three hosts with their own network, disk, processes and sshd, and one home."""
