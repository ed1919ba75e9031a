"""`python -I -m trainer VERB …`: three lines; the verbs are in `trainer.commands`."""

from trainer.commands import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
