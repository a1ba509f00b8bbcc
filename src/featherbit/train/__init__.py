"""Training: a recipe goes through Lightning into a run folder."""

from ._evaluate import evaluate as evaluate
from ._evaluate import nats_per_token as nats_per_token
from ._fit import fit as fit
from ._machine import machine as machine
from ._machine import source_commit as source_commit
from ._metric import Metric as Metric
from ._recipe import Recipe as Recipe
from ._result import Figures as Figures
from ._result import Result as Result
from ._result import read_result as read_result
from ._run_folder import load_model as load_model
from ._run_folder import load_vocabulary as load_vocabulary
from ._run_folder import read_recipe as read_recipe
from ._sweep import Figure as Figure
from ._sweep import Sweep as Sweep
from ._sweep import SweepEvent as SweepEvent
from ._sweep import SweepRun as SweepRun
from ._sweep import failure as failure
from ._sweep import is_finished as is_finished
from ._sweep import run_sweep as run_sweep
from ._sweep_report import CaseSummary as CaseSummary
from ._sweep_report import SweepReport as SweepReport
from ._sweep_report import write_report as write_report
