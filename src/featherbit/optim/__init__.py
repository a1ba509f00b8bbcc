"""What training of low-bit networks adds to torch's optimizers."""

from ._latent import clip_latent_weights as clip_latent_weights
from ._latent import latent_weights as latent_weights
from ._latent import parameter_groups as parameter_groups
from ._latent import rate_scale as rate_scale
from ._schedule import Interval as Interval
from ._schedule import ScheduleKind as ScheduleKind
from ._schedule import decay as decay
from ._schedule import schedule as schedule
from ._shift_adamax import ShiftAdaMax as ShiftAdaMax
