"""Recipes: one small data file per experiment; a variant extends another, never copies it."""

from ._load import load as load
from ._load import names as names
