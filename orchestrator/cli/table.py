"""All commands, in the order in which a person meets them.

A new command is one line here and one module of that name beside it, with `EXAMPLES` (help starts with them),
`add_arguments(parser)` and `run(args, settings, out) -> exit code`. The summaries stand here, so that `orch --help`
imports none of the modules.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "start": {
        "demo": "Make a small phantom data set, run a sweep on it and write the report",
        "init": "Look at a data folder; write orch.yaml and a commented sweep file",
        "data": "Register data sets once: paths, hashes, patients",
        "home": "Say which orch home is the right one: it is away, was moved, restored or copied",
        "config": "Show the settings and where each comes from; change one",
    },
    "hosts": {
        "setup": "Prepare a host: environment with the right torch, proof that it computes, VS Code",
        "hosts": "List the hosts of the site file with what was last known of them",
        "host": "Say that a host will not come back, or show how courteous we were to others there",
        "doctor": "Measure the truths of hosts, each with evidence and repair",
        "protocols": "Write the access protocols: French and English, Markdown and Word",
    },
    "sweeps": {
        "sweep": "Plan a sweep, run what is missing, show progress",
        "adopt": "Make a sweep of a notebook: find its knobs, write the file (the notebook stays as it is)",
        "run": "Run one command as a job: its output here, its exit code passed on",
        "plan": "What a sweep will cost: hours by host, finish, bytes and files against what is free",
        "status": "What runs, waits, is done or failed",
        "attach": "Watch a sweep that runs, from any machine",
        "sync": "Bring what is new on all hosts into the index",
        "logs": "What a job printed",
        "stop": "Stop jobs: the trainer writes a checkpoint first",
        "retry": "Start a new attempt of ended jobs",
        "release": "Start what waits on purpose: held sweeps, GPUs that were out of use",
        "why": "Explain a job: its state with the proof, and where its values come from",
        "show": "All that is recorded of a job",
    },
    "results": {
        "fetch": "Bring files of jobs to this machine: checkpoints, results, logs",
        "report": "Write the comparison table and the curves",
        "note": "Add a note or a tag to a job or a sweep; show them",
        "gc": "Free space on hosts: old code, environments, checkpoints (listed, parked, deleted later)",
        "handover": "Copy an orch home to group storage before its account goes: verified, named as it was",
        "index": "Rebuild or check the local index from the run folders",
    },
    "shell": {
        "completion": "Print the completion script of your shell",
    },
}

COMMANDS: dict[str, str] = {name: text for group in GROUPS.values() for name, text in group.items()}
MODULES = {"setup": "prepare"}  # no file may be named setup.py: it could be taken for our package of that name
