"""argv -> what was asked: the flags of every action, those of the one named, and the nearest valid word for a wrong one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from actions.core import Action, Param, load, params_of
from actions.core.params import nearest
from cockpit.errors import BadInput
from cockpit.output import FORMATS

ABOUT = """\
A keyboard-driven cockpit for distributed GPU training on Amazon EKS.

  cockpit                              the screen, on the cluster kubectl would use
  cockpit --sim                        the same on the practice cluster, started when it is not there (SIMULATED GPUs)
  cockpit --actions                    every action
  cockpit --action NAME --describe     what one takes
  cockpit --action NAME [--param value ...] [-o json]

Exit codes: 0 done or already so, 1 the action failed, 2 bad input, 3 the cluster is unreachable or does not authorise, 4 refused,
5 done and the verdict is bad, 124 timeout, 130 interrupted. stdout holds data, stderr holds narration.
A flag wins over the environment (KUBECONFIG, COCKPIT_*), which wins over the kubeconfig."""


@dataclass(frozen=True)
class Asked:
    """One command line, read. `action` is None for the screen and for --actions; `given` holds the action's parameters as typed."""

    action: Action | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    list_actions: bool = False
    describe: bool = False
    help: bool = False
    version: bool = False
    output: str = ""
    dry_run: bool = False
    yes: bool = False
    wait: bool = False
    timeout_seconds: float | None = None
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    impersonate: str | None = None
    readonly: bool = False
    sim: bool = False


class Parser(argparse.ArgumentParser):
    """Raises BadInput instead of leaving; a person reads one line, a script one object."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(message, "cockpit --help lists the flags")


def read(argv: Sequence[str]) -> Asked:
    """What a command line asks for; BadInput names what is wrong and the nearest valid word."""
    name = peek(argv, "--action")
    action = load(name) if name is not None else None
    parser = _parser(action)
    argv, rest_words = _split_rest(argv, action)
    seen = vars(_parse(parser, _switches_spelled(argv, action), action))
    given = {key.removeprefix("param_"): value for key, value in seen.items() if key.startswith("param_") and value is not None}
    given |= rest_words
    picked = seen.pop("picked", None)
    if picked and action:
        _pick(action, given, picked)
    given = {key: ",".join(value) if isinstance(value, list) else value for key, value in given.items()}
    rest = {key: value for key, value in seen.items() if not key.startswith("param_") and key != "action"}
    if rest["output"] and rest["output"] not in FORMATS:
        raise BadInput(f"-o {rest['output']!r}", nearest(rest["output"], FORMATS))
    if rest["describe"] and action is None:
        raise BadInput("--describe needs --action NAME", "cockpit --actions lists them")
    return Asked(action=action, given=given, **rest)


def _split_rest(argv: Sequence[str], action: Action | None) -> tuple[Sequence[str], dict[str, str]]:
    """The words before `--`, and those after it as the value of the parameter that takes them."""
    taker = next((one for one in params_of(action.params) if one.rest), None) if action else None
    if taker is None or "--" not in argv:
        return argv, {}
    at = list(argv).index("--")
    return argv[:at], {taker.name: shlex.join(argv[at + 1 :])}


def peek(argv: Sequence[str], *flags: str) -> str | None:
    """The value of a flag before anything is checked; None when it is not there."""
    for index, word in enumerate(argv):
        for flag in flags:
            if word == flag and index + 1 < len(argv):
                return argv[index + 1]
            if word.startswith(flag + "="):
                return word[len(flag) + 1 :]
            if len(flag) == 2 and word.startswith(flag) and len(word) > 2 and not word.startswith("--"):
                return word[2:]
    return None


def usage(action: Action | None) -> str:
    """The text of --help."""
    return _parser(action).format_help()


def _parser(action: Action | None) -> Parser:
    about = f"{action.title}. {action.doc}" if action else ABOUT
    parser = Parser(prog="cockpit", description=about, allow_abbrev=False, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_own(parser)
    _add_common(parser.add_argument_group("every action"))
    if action:
        _add_params(parser.add_argument_group(f"parameters of {action.name}"), action)
    return parser


def _add_own(parser: Parser) -> None:
    parser.add_argument("-h", "--help", action="store_true", dest="help", help="this text; with --action its parameters")
    parser.add_argument("--action", metavar="NAME", help="run this action and leave")
    parser.add_argument("--actions", action="store_true", dest="list_actions", help="list every action")
    parser.add_argument("--describe", action="store_true", help="print the parameters of --action NAME")
    parser.add_argument("--sim", action="store_true", help="the practice cluster, started when it is not there")
    parser.add_argument("--version", action="store_true", help="print the version")


def _add_common(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-o", "--output", default="", metavar="FORMAT", help=", ".join(FORMATS))
    group.add_argument("--dry-run", action="store_true", help="plan, let the server judge it, change nothing")
    group.add_argument("-y", "--yes", action="store_true", help="confirm: what destroys or spends needs it without a terminal")
    group.add_argument("--wait", action="store_true", help="stay until what was started is over")
    group.add_argument("--timeout", dest="timeout_seconds", type=_seconds, metavar="S", help="give up after S seconds, exit 124 (--wait: 600)")
    group.add_argument("--kubeconfig", metavar="PATH", help="default: KUBECONFIG, then ~/.kube/config, then the pod's own account")
    group.add_argument("--context", metavar="NAME", help="a context of the kubeconfig")
    group.add_argument("-n", "--namespace", metavar="NS", help="default: the context's")
    group.add_argument("--as", dest="impersonate", metavar="USER", help="impersonate this user")
    group.add_argument("--readonly", action="store_true", help="refuse every action that changes something")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _add_params(group: argparse._ArgumentGroup, action: Action) -> None:
    for one in params_of(action.params):
        if one.name == "namespace":
            continue
        flag, dest = "--" + one.name.replace("_", "-"), f"param_{one.name}"
        flags = [f"-{one.short}", flag] if one.short else [flag]
        text = (one.help + _said(one)).replace("%", "%%")
        if one.kind == "bool":
            group.add_argument(*flags, dest=dest, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif one.kind == "list":
            group.add_argument(*flags, dest=dest, action="append", metavar=one.kind.upper(), help=text)
        else:
            group.add_argument(*flags, dest=dest, metavar=one.kind.upper(), help=text)
    if any(one.picks for one in params_of(action.params)):
        group.add_argument("picked", nargs="*", metavar="NAME", help=argparse.SUPPRESS)


def _said(one: Param) -> str:
    if one.choices:
        choices = ", ".join(one.choices)
        return f" ({choices}; required)" if one.required else f" ({choices}; default {one.default or 'none'})"
    return " (required)" if one.required else "" if one.default in (None, "", False, ()) else f" (default {one.default})"


def _switches_spelled(argv: Sequence[str], action: Action | None) -> list[str]:
    """`--flag=true|false` of a switch as the two words argparse knows."""
    switches = {"--" + one.name.replace("_", "-") for one in params_of(action.params) if one.kind == "bool"} if action else set()
    spelled = []
    for word in argv:
        flag, _, value = word.partition("=")
        if flag in switches and value.lower() in ("true", "yes", "1"):
            spelled.append(flag)
        elif flag in switches and value.lower() in ("false", "no", "0"):
            spelled.append("--no-" + flag[2:])
        else:
            spelled.append(word)
    return spelled


def _parse(parser: Parser, argv: Sequence[str], action: Action | None) -> argparse.Namespace:
    parser.usage = parser.prog  # else argparse words the whole usage, which only its own errors show, and ours do not
    seen, unknown = parser.parse_known_intermixed_args(argv)
    if not unknown:
        return seen
    word = next((one for one in unknown if one.startswith("-")), None)
    if word is None:
        raise BadInput(f"unexpected {unknown[0]!r}", "parameters are written --name value")
    flag = word.split("=", 1)[0]
    known = [option for one in parser._actions for option in one.option_strings if option.startswith("--")]
    what = "unknown parameter" if action else "unknown flag"
    if action is None:
        raise BadInput(f"{what} {flag}", nearest(flag, known) + "; parameters need --action NAME")
    mine = ["--" + one.name.replace("_", "-") for one in params_of(action.params) if one.name != "namespace"]
    raise BadInput(f"{what} {flag}", _nearest_flag(flag, mine, known))


def _nearest_flag(flag: str, mine: Sequence[str], known: Sequence[str]) -> str:
    hint = nearest(flag, known)
    return hint if hint.startswith("did you mean") else nearest(flag, mine)


def _pick(action: Action, given: dict[str, Any], picked: Sequence[str]) -> None:
    """Names without a flag are the first parameter that picks from the cluster."""
    first = next(one for one in params_of(action.params) if one.picks)
    if first.kind == "list":
        given[first.name] = [*given.get(first.name, []), *picked]
    elif len(picked) == 1 and first.name not in given:
        given[first.name] = picked[0]
    else:
        raise BadInput(f"unexpected {picked[-1]!r}", f"{action.name} takes one {first.name}")
