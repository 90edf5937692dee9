"""The `genworks` command: parses, calls the verb's module under `flows/commands`, prints, and turns errors into exit codes.

Exit codes: 0 done, 1 a stage or a gate failed, 2 bad usage or configuration, 130 stopped by Ctrl-C, 143 by SIGTERM.
With `--json` stdout holds JSON alone; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from typing import Any

INTERRUPTED, TERMINATED = 130, 143


def main(words: list[str] | None = None) -> int:
    _refuse_other_encodings(sys.argv[1:] if words is None else words)
    arguments = _parsed(words)
    debug = arguments.debug or bool(os.environ.get("GENWORKS_DEBUG"))
    try:
        return _call(arguments)
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return TERMINATED if type(stop).__name__ == "Terminated" else INTERRUPTED  # without loading what defines it
    except BrokenPipeError:  # `genworks history | head`: nobody reads on, which is no failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explain(error, debug)


def _parsed(words: list[str] | None) -> argparse.Namespace:
    """Options may stand among the words of a list: argparse ends a list that could be empty at the first option."""
    parser = _parser()
    arguments, left = parser.parse_known_args(words)
    listed: str = getattr(arguments, "listed", "")
    if left and (not listed or any(word.startswith("-") for word in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        setattr(arguments, listed, [*getattr(arguments, listed), *left])
    return arguments


def _call(arguments: argparse.Namespace) -> int:
    from components.engines.base.loopback import reach_directly
    from components.engines.tracking.names import check_system

    reach_directly()
    for system in [getattr(arguments, "system", None), *(getattr(arguments, "systems", None) or [])]:
        if system is not None:
            check_system(system)  # it becomes part of paths, before anything knows whether there is one
    module = importlib.import_module(f"flows.commands.{arguments.module}")
    root = None
    if arguments.verb != "doctor":  # which tells what is wrong with the project, rather than failing on it
        from flows.project import open_project

        root = open_project()
    answer = module.run(arguments, root)
    if arguments.json and answer.data is not None:
        import json

        print(json.dumps(answer.data, indent=2, ensure_ascii=False, default=str))
    elif not arguments.json and answer.text:
        print(answer.text)
    sys.stdout.flush()
    return int(answer.code)


def _explain(error: Exception, debug: bool) -> int:
    """One paragraph on stderr: what, where, what to do."""
    from components.engines.base.explanations import explain

    if debug:
        traceback.print_exc()
    failure = explain(error)
    print(f"error: {failure}", file=sys.stderr)
    return failure.exit_code


def _refuse_other_encodings(words: list[str]) -> None:
    """Every store keeps text as UTF-8, so a word that is none would fail wherever it first meets one."""
    for number, word in enumerate(words, start=1):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            shown = ascii(os.fsencode(word))
            print(
                f"error: Argument {number} is not UTF-8. Where: {shown}. What to do: write it in UTF-8.",
                file=sys.stderr,
            )
            raise SystemExit(2) from None


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON alone on stdout")
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    parser = argparse.ArgumentParser(
        prog="genworks", description="Generative-AI systems from raw data to a promoted model, reproducibly."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, help: str, module: str | None = None) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help, parents=[common])
        added.set_defaults(module=module or name)
        return added

    _add_running(verb)
    _add_new(verb)
    _add_models(verb)
    _add_operating(verb)
    return parser


def _add_running(verb: Any) -> None:
    verb("list", "list systems, their stages and champions", "listing")
    run = verb("run", "bring systems up to date: changed stages, gate, report")
    _add_selection(run)
    run.add_argument("--jobs", type=_positive, metavar="N", help="stages at once (default: number of processors)")
    run.add_argument("--gate", choices=["off", "dry-run", "enforce"], help="promotion gate (default: as params say)")
    _add_selection(verb("plan", "show what would run and why; changes nothing unless --set or --profile is given"))
    estimate = verb("estimate", "try a few steps of each training stage; forecast time, memory and cost of its stages")
    estimate.add_argument("system", metavar="SYSTEM")
    estimate.add_argument(
        "--price-per-hour", type=_price, metavar="PRICE", help="of all machines of the run, in any currency"
    )
    why = verb("why", "tell why a stage would run")
    why.add_argument("stage", metavar="STAGE")
    accept = verb("accept", "record that a stage's code change is harmless, so that it does not rerun")
    accept.add_argument("stage", metavar="STAGE")
    accept.add_argument("--why", required=True, metavar="TEXT", help="the reason, kept for lineage")
    accept.add_argument("--who", metavar="NAME", help="default: the user's name")
    compare = verb("compare", "measure the alternatives that components/SYSTEM/comparisons.yaml declares")
    compare.add_argument("system", metavar="SYSTEM")
    compare.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    compare.set_defaults(listed="names")


def _add_new(verb: Any) -> None:
    new = verb("new", "write a new system that runs: room, stages, params, schedule, comparisons, tests")
    new.add_argument("system", metavar="SYSTEM")
    new.add_argument(
        "--kind", choices=["images", "text", "pairs"], default="text", help="what it learns from (default: text)"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="*", metavar="SYSTEM")
    parser.add_argument("--all", action="store_true", help="every system")
    parser.add_argument("--until", metavar="STAGE", help="only this stage and what it stands on")
    parser.add_argument("--force", action="store_true", help="run also what has not changed")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="edit params.yaml: system.stage.key=value"
    )
    parser.add_argument("--profile", metavar="NAME", help="edit params.yaml as infra/profiles/NAME.yaml says")


def _add_models(verb: Any) -> None:
    promote = verb("promote", "put the newest version to the gate")
    promote.add_argument("system", metavar="SYSTEM")
    promote.add_argument("--gate", choices=["off", "dry-run", "enforce"])
    promote.add_argument("--reconsider", action="store_true", help="judge also a model that was rolled back")
    rollback = verb("rollback", "give the champion alias back to the previous version")
    rollback.add_argument("system", metavar="SYSTEM")
    rollback.add_argument("--to", type=_positive, metavar="VERSION", help="this version rather than the previous one")
    rollback.add_argument("--why", default="", metavar="TEXT", help="the reason, kept in the ledger")
    history = verb("history", "who was champion when, and on what evidence")
    history.add_argument("system", metavar="SYSTEM")
    history.add_argument("--as-of", metavar="DATE", help="the state at this time (ISO 8601)")
    lineage = verb("lineage", "data, code, params and evidence behind a model version")
    _add_model(lineage)
    reproduce = verb("reproduce", "rebuild a model version from its commit and compare hashes")
    _add_model(reproduce)
    predict = verb("predict", "run a system's champion on texts or files")
    predict.add_argument("system", metavar="SYSTEM")
    predict.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="each a text, a file or JSON (default: lines of stdin)"
    )
    predict.set_defaults(listed="inputs")
    predict.add_argument("--text", "--prompt", action="append", metavar="TEXT", help="an input; may be repeated")
    predict.add_argument("--file", metavar="PATH", help="inputs, one a line")
    predict.add_argument(
        "--out", metavar="PATH", help="where the picture or other file that answers goes (several: numbered)"
    )
    predict.add_argument(
        "--alias", default="champion", metavar="ALIAS", help="champion (default), previous or a number"
    )
    predict.add_argument(
        "--session", metavar="NAME", help="talk with a system that chats, line by line; the session is kept"
    )
    predict.add_argument("--user", metavar="NAME", help="whose session it is (default: who is logged in)")
    predict.add_argument("--delete-session", action="store_true", help="remove the session and end")
    whatif = verb("whatif", "what a filter would keep at other thresholds, from stored scores")
    whatif.add_argument("system", metavar="SYSTEM")
    whatif.add_argument("--filter", metavar="NAME", help="of a system with several filters")
    whatif.add_argument(
        "--threshold", type=float, nargs="+", metavar="T", help="default: the params' own and every tenth of the scores"
    )
    report = verb("report", "write a system's report page")
    report.add_argument("system", metavar="SYSTEM")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="SYSTEM[/VERSION]", help="SYSTEM alone means its champion")


def _add_operating(verb: Any) -> None:
    verb("doctor", "check the installation, the project and its stores")
    up = verb("up", "start Prefect and MLflow with the deployments' worker, until Ctrl-C")
    up.add_argument("--prefect-port", type=_port, metavar="PORT")
    up.add_argument("--mlflow-port", type=_port, metavar="PORT")
    up.add_argument("--no-worker", action="store_true", help="servers only; schedules do not run")
    serve = verb("serve", "answer over HTTP with champions, and take feedback, until Ctrl-C")
    serve.add_argument("systems", nargs="*", metavar="SYSTEM", help="default: every system that has a champion")
    serve.add_argument("--host", default="127.0.0.1", metavar="HOST", help="default: this machine alone (127.0.0.1)")
    serve.add_argument("--port", type=_port, metavar="PORT", help="default: 8000, or any where that is taken")
    serve.add_argument(
        "--waiting",
        type=_positive,
        metavar="N",
        help="requests to one system at once, more are told to wait (default: 32)",
    )
    serve.add_argument("--seconds", type=_positive, metavar="S", help="longest wait for an answer (default: 60)")
    serve.add_argument("--keep-texts", action="store_true", help="keep texts in the event log, personal data replaced")
    serve.add_argument("--body-mb", type=_positive, metavar="MB", help="largest body of a request (default: 8)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not '{text}'")
    return int(text)


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0, not '{text}'")
    return price


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port from 1 to 65535, not '{text}'")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
