"""The laptop side of `orch`: command line, sweeps, planning, dispatch, collection, the index and the report.

It never imports the trainer or torch: those run as child programs, here or on another host. It imports on Windows too.
"""
