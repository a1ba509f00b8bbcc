"""Training: a recipe goes through Lightning into a run folder."""

from ._evaluate import evaluate as evaluate
from ._fit import fit as fit
from ._machine import machine as machine
from ._machine import source_commit as source_commit
from ._recipe import Recipe as Recipe
from ._result import Accuracies as Accuracies
from ._result import Result as Result
from ._result import read_result as read_result
from ._run_folder import load_model as load_model
from ._run_folder import read_recipe as read_recipe
