"""`expo-bench eval`: the stages from problems to a report, in one run folder."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from expo_bench.engines.base import Generator
from expo_bench.evaluation import metrics
from expo_bench.evaluation.drawing import Missing, Stage, count
from expo_bench.evaluation.graded_meanwhile import graded_meanwhile
from expo_bench.evaluation.planning import Plan, begin, finish, open_planned, warnings
from expo_bench.evaluation.progress import Progress, Tally, counting
from expo_bench.evaluation.sampling import sampling
from expo_bench.evaluation.spending import Spending, prompt_tokens
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.misread import misread
from expo_bench.grading.stage import grade
from expo_bench.reports import reporting
from expo_bench.rows import Manifest, Metric, Sample


def evaluate(planned: Plan, progress: Progress) -> list[Metric]:
    """Draw the missing samples, grade, compute the metrics and write the report; goes on where it was stopped.

    Raises:
        UserError: bad input, an engine that cannot be used, or a folder that another process writes to.
    """
    config, run = planned.config, planned.run
    lock = run.lock()
    try:
        for warning in warnings(planned):
            progress.note(warning)
        total = len(planned.problems) * config.n
        with Judge() as judge:
            told: dict[tuple[str, int], int] = {}
            manifest = draw(planned, [sampling(config, planned.prompt)], progress, judge, told)
            statuses = grade(run, judge=judge, on_grade=counting(progress, total))
        if not_understood := misread(run, GRADER):
            for text, examples in not_understood.lines():
                progress.note("\n  ".join([text, *examples]))
        found = metrics.compute(run, grader=GRADER, ks=config.ks)
        run.write_metrics(found)
        counts = {
            "problems": len(planned.problems),
            "samples": total,
            **{f"{GRADER}:{k}": v for k, v in statuses.items()},
        }
        spending = spent_so_far(planned, progress, told)
        cost = spending.described() if spending else None
        # where nothing was drawn now, what is there was reckoned with the server's counts
        if cost is not None and not told and (before := manifest.environment.get("cost")):
            cost = before
        if cost is not None:
            progress.note(f"spent about {cost['money']:.4g}")
            manifest = replace(manifest, environment={**manifest.environment, "cost": cost})
        finish(run, manifest, counts)
        reporting.report([run], run.report_path, grader=GRADER)
        if config.compress:
            run.pack()
        return found
    finally:
        lock.close()


def draw(
    planned: Plan,
    stages: Sequence[Stage],
    progress: Progress,
    judge: Judge | None = None,
    told: dict[tuple[str, int], int] | None = None,
) -> Manifest:
    """Draw what the run lacks of these stages and return its manifest; the model is loaded only for that.

    With a judge, answers are graded while others are drawn. `told` is filled with the tokens of prompts, by problem and
    sample, that a server has counted.
    """
    run = planned.run
    wanted = [(stage, lacking) for stage in stages if (lacking := stage.missing(run, planned.problems))]
    if not wanted and run.manifest_path.is_file():
        return run.read_manifest()
    engine = open_planned(planned, progress)
    try:
        manifest = begin(planned, engine.describe(), progress)
        for stage, lacking in wanted:
            draw_stage(planned, stage, lacking, engine, progress, judge if stage.kind == "solve" else None)
        if told is not None:
            told.update(engine.gauge.prompts)
        return manifest
    finally:
        engine.close()


def spent_so_far(planned: Plan, progress: Progress, told: Mapping[tuple[str, int], int]) -> Spending | None:
    """Return what the samples of the run have cost, so far; None where tokens have no price."""
    if planned.config.price_in is None and planned.config.price_out is None:
        return None
    spending = Spending(planned.config, prompt_tokens(planned.prompt, planned.problems), progress.note, told)
    spending.count(planned.run.samples())
    return spending


def draw_stage(
    planned: Plan, stage: Stage, lacking: Missing, engine: Generator, progress: Progress, judge: Judge | None = None
) -> None:
    """Draw what the run lacks of a stage; with a judge, grade answers on the way."""
    total = len(stage.asked(planned.problems)) * stage.n
    tally = Tally()
    advance = progress.start(stage.doing, total, total - count(lacking), engine.gauge, tally)
    spending = None if planned.config.max_cost is None else spent_so_far(planned, progress, engine.gauge.prompts)

    def on_sample(row: Sample) -> None:
        advance(row.n_tokens or 0)
        if spending:
            spending.add(row)

    with graded_meanwhile(planned.run, judge, tally) if judge else nullcontext():
        stage.draw(planned.run, lacking, engine, on_sample)
