"""Recipes: one small data file per experiment; a variant extends another, never copies it."""

from ._load import load as load
from ._load import names as names
from ._sweeps import load_sweep as load_sweep
from ._sweeps import sweep_names as sweep_names
