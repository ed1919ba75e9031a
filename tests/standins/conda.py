"""A conda for tests: its command line over py-rattler, which solves and installs as conda does, from a local channel.

    conda --version | info --json | create --yes [--no-lock] --override-channels -c CHANNEL -p PREFIX SPEC… |
    env list --json | run -p PREFIX COMMAND…

Its locks wait for ever when a dead one left a lock behind, as on a network home; `--no-lock` goes past them.
"""

import argparse
import asyncio
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

VERSION = "24.9.2"
PLATFORM = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
_HERE = pathlib.Path(sys.argv[0]).absolute().parent.parent
sys.path.insert(0, str(_HERE / "site"))  # where py-rattler lies when the Python that runs us has none


def my_platform():
    """What this installation is for; `platform.txt` beside it says when that is not this machine."""
    told = _HERE / "platform.txt"
    return told.read_text().strip() if told.exists() else PLATFORM[platform.machine()]


def packages():
    return pathlib.Path(os.environ.get("CONDA_PKGS_DIRS") or _HERE / "pkgs")


def say(*words):
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def info(_):
    about = {"platform": my_platform(), "conda_version": VERSION, "root_prefix": str(_HERE), "envs": known()}
    say(json.dumps({**about, "pkgs_dirs": [str(packages())], "channels": ["defaults"]}))


def register():
    return pathlib.Path.home() / ".conda" / "environments.txt"


def known():
    try:
        return [line for line in register().read_text().splitlines() if pathlib.Path(line).is_dir()]
    except OSError:
        return []


def listing(_):
    say(json.dumps({"envs": known()}))


def locked(wanted):
    lock = packages() / "conda.lock"
    packages().mkdir(parents=True, exist_ok=True)
    while wanted and lock.exists():
        time.sleep(0.1)
    if wanted:
        lock.write_text(str(os.getpid()))
    return lock


def create(args):
    if not args.channel or not args.override_channels:
        sys.exit("CondaError: the channel 'defaults' cannot be reached")
    lock = locked(not args.no_lock)
    prefix = pathlib.Path(args.prefix)
    if (prefix / "conda-meta").is_dir():
        sys.exit(f"CondaValueError: prefix already exists: {prefix}")
    say("Channels:", *args.channel, "\nPlatform:", my_platform(), "\nSolving environment: done")
    asyncio.run(install(args.channel, args.specs, prefix))
    with (prefix / "conda-meta" / "history").open("a") as history:
        history.write(f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==\n# cmd: {' '.join(sys.argv)}\n")
    register().parent.mkdir(exist_ok=True)
    register().write_text("\n".join([*known(), str(prefix), ""]))
    if not args.no_lock:
        lock.unlink()
    say("done")


def trust_something():
    """A root whose certificates were unpacked but never gathered: rattler wants some, even for files."""
    single = sorted(pathlib.Path("/usr/share/ca-certificates/mozilla").glob("*.crt"))
    if single and not pathlib.Path("/etc/ssl/certs/ca-certificates.crt").exists():
        os.environ["SSL_CERT_FILE"] = str(single[0])


async def install(channels, specs, prefix):
    trust_something()
    from rattler import install, solve

    try:
        platforms = [my_platform(), "noarch"]
        records = await solve(channels, specs, platforms=platforms)
    except Exception as error:
        sys.exit(f"PackagesNotFoundError: {error}")
    for record in records:
        say("Downloading", record.file_name)
    try:
        await install(records, target_prefix=prefix, cache_dir=packages(), show_progress=False)
    except Exception as error:
        sys.exit(f"CondaError: {error!r}")


def run(args):
    path = os.pathsep.join([str(pathlib.Path(args.prefix) / "bin"), os.environ.get("PATH", "")])
    sys.exit(subprocess.run(args.words, env={**os.environ, "CONDA_PREFIX": args.prefix, "PATH": path}).returncode)


def main():
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("info")
    one.add_argument("--json", action="store_true", required=True)
    one.set_defaults(run=info)
    one = verbs.add_parser("create")
    for flag in ("--yes", "--no-lock", "--override-channels"):
        one.add_argument(flag, action="store_true")
    one.add_argument("-c", "--channel", action="append")
    one.add_argument("-p", "--prefix", required=True)
    one.add_argument("specs", nargs="+")
    one.set_defaults(run=create)
    one = verbs.add_parser("env").add_subparsers(required=True).add_parser("list")
    one.add_argument("--json", action="store_true", required=True)
    one.set_defaults(run=listing)
    one = verbs.add_parser("run")
    one.add_argument("-p", "--prefix", required=True)
    one.add_argument("words", nargs=argparse.REMAINDER)
    one.set_defaults(run=run)
    args = parser.parse_args()
    args.run(args)
    sys.stdout.flush()
    os._exit(0)  # rattler's threads now and then crash while the interpreter leaves


main()
