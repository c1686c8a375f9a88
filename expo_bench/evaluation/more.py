"""More samples of a policy that was evaluated before: same settings, fresh seeds, in a run folder of their own."""

from collections.abc import Collection
from pathlib import Path

from expo_bench.config import EvalConfig
from expo_bench.engines.choosing import engine_name
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import count
from expo_bench.evaluation.pipeline import evaluate
from expo_bench.evaluation.planning import Plan, resume_config
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import sampling
from expo_bench.prompts import solve_prompt
from expo_bench.storage.run_folder import RunFolder

# far from the seeds that people choose, so that no run of theirs holds the same samples
_FAR = 1_000_003


def more_samples(
    source: Path, folder: Path, *, n: int, stream: int, problem_ids: Collection[str] | None, progress: Progress
) -> RunFolder:
    """Draw and grade `n` fresh samples of each problem as the run `source` drew its own; a stopped one goes on.

    Args:
        source: a run of `expo-bench eval`.
        folder: of the new run.
        n: samples a problem.
        stream: another number, other samples.
        problem_ids: which of its problems; all where None.
        progress: is told of the samples.

    Raises:
        UserError: the source was not drawn here, its model has changed, or the folder holds other problems.
    """
    old, run = RunFolder(source), RunFolder(folder)
    before = old.read_manifest()
    try:
        asked = resume_config(source, EvalConfig)
    except UserError as error:
        raise UserError(
            f"{source} cannot be sampled again, its samples come from elsewhere: draw them where they were drawn"
        ) from error
    seed = asked.seed + _FAR * stream
    config = asked.model_copy(update={"n": n, "seed": seed, "ks": None, "compress": False, "redraw_errors": False})
    problems = [one for one in old.problems() if problem_ids is None or one.problem_id in problem_ids]
    if run.manifest_path.is_file() and [one.problem_id for one in run.problems()] != [
        one.problem_id for one in problems
    ]:
        raise UserError(f"{folder} holds samples of other problems: delete it, or choose another folder with -o")
    prompt = solve_prompt(config.prompt)
    planned = Plan(
        config=config,
        run=run,
        problems=problems,
        loaded=[],
        prompt=prompt,
        engine=engine_name(config),
        n_missing=count(sampling(config, prompt).missing(run, problems)),
    )
    evaluate(planned, progress)
    after = run.read_manifest()
    if after.model.get("weights_digest") != before.model.get("weights_digest"):
        raise UserError(
            f"{config.model} has other weights than when {source} was drawn: its fresh samples are another's"
        )
    if after.protocol_hash != before.protocol_hash:
        raise UserError(f"{source} was drawn under another protocol than {folder} now: evaluate it again")
    return run
