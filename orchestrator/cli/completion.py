"""`orch completion`: completion scripts for bash, zsh and fish, written from the live parsers."""

from __future__ import annotations

from argparse import Namespace

from ..config import Settings
from .output import Output
from .parser import Parser
from .registry import command_parser
from .table import COMMANDS

EXAMPLES = """
orch completion bash >> ~/.bashrc
orch completion zsh > ~/.zfunc/_orch
orch completion fish > ~/.config/fish/completions/orch.fish
"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell to complete in")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Print the script."""
    options = {name: _options(command_parser(name)) for name in COMMANDS}
    out.json({"shell": args.shell, "options": options})
    out.result({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](options))
    return 0


def _options(parser: Parser) -> list[str]:
    words = [*parser.verbs]
    for one in (parser, *parser.verbs.values()):
        words += [flag for row in one.rows() for flag in row.flags if flag.startswith("--")]
        words += [choice for row in one.rows() if not row.flags for choice in row.choices]
    return list(dict.fromkeys(words))


def _bash(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"    {name}) words='{' '.join(words)}' ;;" for name, words in options.items())
    return f"""_orch() {{
  local words='{" ".join(options)}'
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  [ "$COMP_CWORD" -eq 1 ] && words='{" ".join(options)} --help --version'
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _orch orch"""


def _zsh(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"    {name}) compadd -- {' '.join(words)} ;;" for name, words in options.items())
    return f"""#compdef orch
_orch() {{
  if (( CURRENT == 2 )); then compadd -- {" ".join(options)} --help --version; return; fi
  case "${{words[2]}}" in
{cases}
  esac
  _files
}}
compdef _orch orch"""


def _fish(options: dict[str, list[str]]) -> str:
    lines = [f"complete -c orch -n __fish_use_subcommand -f -a {name} -d '{COMMANDS[name]}'" for name in options]
    for name, words in options.items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c orch {seen} -l {word[2:]}" for word in words if word.startswith("--")]
        lines += [f"complete -c orch {seen} -a {word}" for word in words if not word.startswith("--")]
    return "\n".join(lines)
