# rows and run folders
# results
from . import frames as frames
from . import intervals as intervals
from . import stats as stats

# runs
from .commands.progress import TerminalProgress as TerminalProgress
from .config import CandidatesConfig as CandidatesConfig
from .config import EvalConfig as EvalConfig
from .config import load_candidates_config as load_candidates_config
from .config import load_config as load_config

# engines
from .engines.base import Completion as Completion
from .engines.base import Generator as Generator
from .engines.base import Request as Request
from .engines.base import SamplingParams as SamplingParams
from .engines.choosing import open_engine as open_engine
from .errors import UserError as UserError
from .evaluation.pipeline import evaluate as evaluate
from .evaluation.planning import plan as plan
from .extrapolation import beyond as beyond

# grading
from .grading.judge import GRADER as GRADER
from .grading.judge import Attempt as Attempt
from .grading.judge import Judge as Judge
from .grading.judge import Verdict as Verdict
from .grading.judge import extract as extract
from .grading.judge import judge_many as judge_many
from .ledger import compare as compare
from .ledger import confirmation as confirmation
from .ledger import exchange as exchange
from .ledger import sequential as sequential
from .likelihood import two_property as two_property
from .likelihood.chains import before_answer as before_answer
from .likelihood.pipeline import Policy as Policy
from .likelihood.pipeline import make_candidates as make_candidates
from .likelihood.pipeline import measure as measure

# benchmarks
from .problems import BENCHMARKS as BENCHMARKS
from .problems import load as load
from .problems import select as select
from .reports import reporting as reporting
from .reports.figures import drawings as drawings
from .reports.figures.ledger_figures import draw_ledger as draw_ledger
from .reports.likelihood_table import likelihood_table as likelihood_table
from .reports.reporting import likelihood_figures as likelihood_figures
from .reports.reporting import report as report
from .reports.run_views import read_runs as read_runs
from .rows import TELLING as TELLING
from .rows import Candidate as Candidate
from .rows import Grade as Grade
from .rows import Likelihood as Likelihood
from .rows import LikelihoodMetric as LikelihoodMetric
from .rows import Manifest as Manifest
from .rows import Metric as Metric
from .rows import Problem as Problem
from .rows import Rollout as Rollout
from .rows import Sample as Sample
from .storage.run_folder import RunFolder as RunFolder
from .storage.training_folder import TrainingFolder as TrainingFolder

# training
from .studies import learning_curves as learning_curves
from .studies.report import study_figures as study_figures
from .studies.report import study_markdown as study_markdown
from .studies.report import study_table as study_table
from .studies.report import zero_reward_table as zero_reward_table
from .studies.study import Study as Study
from .studies.study import load_study as load_study
from .studies.study import runs as runs
from .studies.study import train_all as train_all
from .trainers.ledger import generated_tokens as generated_tokens
from .trainers.ledger import zero_reward as zero_reward
from .trainers.recipe import Recipe as Recipe
from .trainers.training import load_recipe as load_recipe
from .trainers.training import train as train

__all__: list[str]
