"""`lab completion`: what a shell needs to complete commands and options, made from the parser."""

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training_lab.commands.command_line import EXIT_DONE, add_command

SHELLS = ("bash", "zsh", "fish")
ROOT = "lab"
ID = re.compile(r"\b(exp|stu|run)_|@last")
"""What the help of an argument names that is an experiment, a study or a run."""


@dataclass(frozen=True)
class Place:
    """A command that has been written so far: `lab keys`; what may follow, each with its help."""

    path: str
    below: Mapping[str, str]
    options: Mapping[str, str]
    names_files: bool
    names_ids: bool = False


def add_parser(commands: Any) -> None:
    """Add `lab completion`, of all that the command line has once it is asked for."""
    parser = add_command(
        commands,
        "completion",
        "print what makes a shell complete the commands, options and newest ids of lab",
        "lab completion bash > ~/.local/share/bash-completion/completions/lab",
        lambda options: _print(options, commands),
    )
    parser.add_argument("shell", choices=SHELLS, help="for its startup file, or to be evaluated")


def _print(options: argparse.Namespace, commands: Any) -> int:
    print(script(options.shell, list(places(ROOT, commands))), end="")
    return EXIT_DONE


def script(shell: str, found: list[Place]) -> str:
    """What that shell reads."""
    match shell:
        case "bash":
            return _bash(found)
        case "zsh":
            return _zsh(found)
        case _:
            return _fish(found)


def places(path: str, commands: Any, options: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Where one may stand on the command line, the outermost first. argparse tells it in attributes that begin with
    `_`, and in no other way.
    """
    helps = {one.dest: one.help or "" for one in commands._choices_actions}
    top = {"--version": "print the version", "--help": "print help"}
    yield Place(
        path, {name: helps.get(name, "") for name in commands.choices}, options or top, False
    )
    for name, parser in commands.choices.items():
        inner = next((one for one in parser._actions if hasattr(one, "_choices_actions")), None)
        own = {
            option: (action.help or "").replace("%%", "%")
            for action in parser._actions
            for option in action.option_strings
            if option.startswith("--") and action.help != argparse.SUPPRESS
        }
        if inner is not None:
            yield from places(f"{path} {name}", inner, own)
            continue
        words = {
            str(choice): ""
            for action in parser._actions
            if not action.option_strings
            for choice in action.choices or ()
        }
        named = [
            action.help or ""
            for action in parser._actions
            if not action.option_strings and ID.search(action.help or "")
        ]
        yield Place(f"{path} {name}", words, own, not words, bool(named))


BASH = """\
# Completes lab in bash: eval "$(lab completion bash)"
_lab() {
    local place=lab word words= files= ids=
    local cur=${COMP_WORDS[COMP_CWORD]}
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$place $word" in
%(steps)s
        esac
    done
    case $place in
%(words)s
    esac
    if [[ -n $ids && $cur != -* ]]; then
        words+=" $("${COMP_WORDS[0]}" --complete-ids 2> /dev/null | cut -f 1)"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ -n $files && $cur != -* ]]; then
        compopt -o filenames
        COMPREPLY+=($(compgen -f -- "$cur"))
    fi
}
complete -F _lab lab
"""

ZSH = """\
#compdef lab
# Completes lab in zsh: eval "$(lab completion zsh)", after compinit
_lab() {
    local place=lab word files= ids=
    local -a found
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$place $word" in
%(steps)s
        esac
    done
    case $place in
%(words)s
    esac
    if [[ -n $ids && $words[CURRENT] != -* ]]; then
        found+=(${(f)"$(${words[1]} --complete-ids 2> /dev/null | cut -f 1)"})
    fi
    compadd -- $found
    if [[ -n $files && $words[CURRENT] != -* ]]; then _files; fi
}
compdef _lab lab
"""


def _bash(found: list[Place]) -> str:
    return BASH % {"steps": _steps(found, 12), "words": _words(found, 'words="{}"')}


def _zsh(found: list[Place]) -> str:
    return ZSH % {"steps": _steps(found, 12), "words": _words(found, "found=({})")}


def _steps(found: list[Place], indent: int) -> str:
    paths = "|".join(f'"{place.path}"' for place in found if place.path != ROOT)
    return f'{"":{indent}}{paths}) place="$place $word" ;;'


def _words(found: list[Place], form: str) -> str:
    return "\n".join(
        f'        "{place.path}") {form.format(" ".join([*place.below, *place.options]))}'
        f"{'; files=1' if place.names_files else ''}{'; ids=1' if place.names_ids else ''} ;;"
        for place in found
    )


def _fish(found: list[Place]) -> str:
    lines = ["# Completes lab in fish: lab completion fish | source", "complete -c lab -f"]
    for place in found:
        condition = _fish_condition(place)
        if place.names_files:
            lines.append(f"complete -c lab -n {_quoted(condition)} -F")
        if place.names_ids:
            asked = _quoted("(lab --complete-ids 2> /dev/null)")
            lines.append(f"complete -c lab -n {_quoted(condition)} -a {asked}")
        for name, does in place.below.items():
            said = f" -d {_quoted(does)}" if does else ""
            lines.append(f"complete -c lab -n {_quoted(condition)} -a {_quoted(name)}{said}")
        for option, does in place.options.items():
            said = f" -d {_quoted(does)}" if does else ""
            lines.append(f"complete -c lab -n {_quoted(condition)} -l {option[2:]}{said}")
    return "\n".join(lines) + "\n"


def _fish_condition(place: Place) -> str:
    _, *names = place.path.split()
    if not names:
        return "__fish_use_subcommand"
    parts = [f"__fish_seen_subcommand_from {name}" for name in names]
    below = " ".join(name for name in place.below if not place.names_files)
    return "; and ".join([*parts, *([f"not __fish_seen_subcommand_from {below}"] if below else [])])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
