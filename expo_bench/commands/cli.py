"""`expo-bench`: parses, calls one stage, prints where the result lies. Heavy imports wait for their command."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expo_bench.commands import compare as compare_command
from expo_bench.commands import dry_runs
from expo_bench.commands import import_ as import_command
from expo_bench.commands import likelihood as likelihood_commands
from expo_bench.commands import study as study_command
from expo_bench.commands import thoughts as thoughts_command
from expo_bench.commands import train as train_command
from expo_bench.commands.options import RayAddressOption, ReplicasOption, end_quietly, names, numbers, terminated
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.evaluation.planning import Plan
    from expo_bench.rows import Metric

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def _about() -> None:
    """Evaluate language models on mathematics: pass@k by level, with intervals, from runs that can be stopped."""


@app.command("eval")
def evaluate(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting of the config file.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Hub id, folder, GGUF file, micro, or URL#name of a server.")
    ] = None,
    benchmarks: Annotated[
        str | None, typer.Option("-b", "--benchmarks", help="Names or JSON-lines files, with commas between.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Samples a problem. [default: 8]")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, transformers, vllm or server. [default: auto]")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bfloat16, float16 or float32. [default: auto]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the model on the hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the benchmark. [default: test]")] = None,
    levels: Annotated[str | None, typer.Option(help="Only these levels, for instance 4,5.")] = None,
    subjects: Annotated[str | None, typer.Option(help="Only these subjects or domains, with commas between.")] = None,
    limit: Annotated[int | None, typer.Option(help="Problems of each benchmark at most.")] = None,
    shuffle_seed: Annotated[int | None, typer.Option(help="Shuffle before the limit.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with benchmark files, in place of the hub. [default: $EXPO_BENCH_DATA]")
    ] = None,
    dataset_revision: Annotated[str | None, typer.Option(help="Revision of the benchmark on the hub.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="boxed, qwen-boxed, plain, or a text file with {question}. [default: boxed]")
    ] = None,
    chat_template: Annotated[Path | None, typer.Option(help="Jinja file in place of the tokenizer's template.")] = None,
    enable_thinking: Annotated[bool | None, typer.Option(help="For chat templates that know it.")] = None,
    thinking_tokens: Annotated[int | None, typer.Option(help="Own budget for what stands before </think>.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy. [default: 1.0]")] = None,
    top_p: Annotated[float | None, typer.Option(help="[default: 1.0]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="[default: 2048]")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A string that ends a completion; may be given again.")] = None,
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    ks: Annotated[
        str | None, typer.Option(help="The k of pass@k, for instance 1,4,64. [default: powers of two]")
    ] = None,
    replicas: ReplicasOption = None,
    ray_address: RayAddressOption = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress the rows of the finished run.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with any of these settings.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    redraw_errors: Annotated[
        bool, typer.Option("--redraw-errors", help="Going on with a run, draw again what ended in an error.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder. [default: a name under results/]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")] = False,
    probe: dry_runs.ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
) -> None:
    """Sample, grade and report: pass@k of MODEL on BENCHMARKS.

    The same command again, or --resume, goes on where a run was stopped.
    """
    from expo_bench.config import load_config
    from expo_bench.evaluation.planning import plan, resume_config

    dry_runs.check_probe(dry_run, probe)
    given = {
        "model": model, "n": n, "engine": engine, "dtype": dtype, "revision": revision, "split": split, "limit": limit,
        "shuffle_seed": shuffle_seed, "data_dir": data_dir, "dataset_revision": dataset_revision, "prompt": prompt,
        "chat_template": chat_template, "enable_thinking": enable_thinking, "thinking_tokens": thinking_tokens,
        "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stop": stop or None, "seed": seed,
        "benchmarks": names(benchmarks), "levels": numbers("--levels", levels), "subjects": names(subjects),
        "ks": numbers("--ks", ks), "replicas": replicas, "ray_address": ray_address,
        "compress": compress or None,
    }  # fmt: skip
    settings = {key: value for key, value in given.items() if value is not None}
    redraw = {"redraw_errors": True} if redraw_errors else {}
    if resume is not None:
        if settings or overrides or config or out:
            raise UserError("--resume takes the run's own settings: give no others than --redraw-errors beside it")
        planned = plan(resume_config(resume).model_copy(update=redraw), resume)
    else:
        planned = plan(load_config(config, settings | redraw, overrides or []), out)
    if dry_run:
        dry_runs.print_plan(planned, probe, as_json)
        return
    _run(planned, as_json)


def _run(planned: "Plan", as_json: bool) -> None:
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation.pipeline import evaluate as run_stages

    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            found = run_stages(planned, progress)
    except KeyboardInterrupt:
        end_quietly()
        typer.echo(
            f"\nstopped; what was done is saved. Go on with: expo-bench eval --resume {planned.run.path}", err=True
        )
        raise typer.Exit(130) from None
    _print_metrics(found, planned.run.path, as_json)


def _print_metrics(found: "list[Metric]", run: Path, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"run": str(run), "metrics": [asdict(metric) for metric in found]}))
        return
    from rich.console import Console

    from expo_bench.reports.reporting import table

    Console(stderr=True).print(table(found, title=run.name))
    typer.echo(f"report: {run / 'report.html'}", err=True)
    typer.echo(str(run))


@app.command()
def grade(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|RUN", help='JSON lines with "answer" and "text", - for standard input, or a run folder.'
        ),
    ],
    name: Annotated[str | None, typer.Option("--as", help="For a run folder: name of the new grades file.")] = None,
) -> None:
    """Grade anyone's completions, a verdict a line; or grade a run folder's samples again, beside the old grades."""
    from expo_bench.grading.stage import grade_lines

    if source != "-" and Path(source).is_dir():
        _regrade(Path(source), name)
        return
    if name is not None:
        raise UserError("--as names the grades of a run folder; the verdicts of a file go to standard output")
    if source != "-" and not Path(source).is_file():
        raise UserError(f"{source} does not exist")
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        try:
            for verdict in grade_lines(lines):
                sys.stdout.write(json.dumps(verdict, ensure_ascii=False) + "\n")
                sys.stdout.flush()
        except UserError as error:
            raise UserError(f"{source}, {error}") from error


def _regrade(path: Path, name: str | None) -> None:
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation import metrics
    from expo_bench.grading import stage as grading
    from expo_bench.grading.judge import GRADER
    from expo_bench.reports import reporting
    from expo_bench.storage.run_folder import RunFolder

    run = RunFolder(path)
    manifest = run.read_manifest()
    grader = name or GRADER
    with run.lock(), TerminalProgress() as progress:
        advance = progress.start("grading", manifest.counts.get("samples", 0), 0)
        grading.grade(run, grader=grader, progress=lambda _done, _total: advance(0))
    found = metrics.compute(run, grader=grader)
    run.write_metrics(found)
    reporting.report([run], run.report_path, grader=grader)
    _print_metrics(found, path, False)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="HTML file. [default: report.html of a single run]")
    ] = None,
    grader: Annotated[str | None, typer.Option(help="Whose grades.")] = None,
) -> None:
    """Write one self-contained HTML report over one or several runs, or on a set of thoughts."""
    from expo_bench.grading.judge import GRADER
    from expo_bench.reports import reporting
    from expo_bench.storage.run_folder import RunFolder
    from expo_bench.thoughts.dataset import ThoughtFolder

    if out is None and len(runs) > 1:
        raise UserError("several runs: name the report's file with -o")
    if len(runs) == 1 and ThoughtFolder(runs[0]).is_complete:
        from expo_bench.reports.thoughts_page import thoughts_page

        typer.echo(str(thoughts_page(ThoughtFolder(runs[0]))))
        return
    typer.echo(
        str(
            reporting.report(
                [RunFolder(path) for path in runs], out or runs[0] / "report.html", grader=grader or GRADER
            )
        )
    )


@app.command("list")
def list_() -> None:
    """List the benchmarks, prompts and engines."""
    from expo_bench.problems import BENCHMARKS
    from expo_bench.prompts import SOLVE_PROMPTS

    typer.echo(f"benchmarks: {', '.join(BENCHMARKS)}")
    typer.echo(f"prompts: {', '.join(SOLVE_PROMPTS)}")
    typer.echo("engines: auto, transformers, vllm, server")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study.")] = Path("results/demo"),
) -> None:
    """Run the whole loop on the micro world, without a download, in a few minutes.

    The embedded policy is evaluated and its candidate positives are scored; it is trained by GRPO, by ExP-GRPO and by
    GRPO with expert chains; all that is evaluated again and compared, in one report.
    """
    file = Path(__file__).parents[1] / "assets" / "studies" / "demo.yaml"
    study_command.carry_out(file, out, "The loop on the micro world", min(2, os.cpu_count() or 1), as_json=False)


app.command()(likelihood_commands.candidates)
app.command()(likelihood_commands.likelihood)
app.command("import")(import_command.import_)
app.command()(train_command.train)
app.command()(study_command.study)
app.command()(compare_command.compare)
app.command()(thoughts_command.thoughts)


def main() -> None:
    """Run the command line; bad input ends with one line on standard error and exit code 2."""
    # the tokenizers library warns about each fork that follows its use
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # threads that spin while they wait take the processor from those that work, wherever somebody else computes too
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"expo-bench: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        # the reader of our output went away: nothing is left to say, and Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
