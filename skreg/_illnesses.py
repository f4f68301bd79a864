"""An illness is what can be wrong with a fit: its name, the check that sees it, and where it is described.

``ILLNESSES`` is the registry: causes come before what they bring about, as the first remedy is tried first. To add one
takes a check, ``(Case) -> Sign | None``, and a line here.
"""

from dataclasses import dataclass

from . import _evidence_of_data as data
from . import _evidence_of_layers as layers
from . import _evidence_of_training as training
from ._signs import Check


@dataclass(frozen=True)
class Illness:
    """What can be wrong with a fit.

    Attributes
    ----------
    name : str
        In plain words.
    check : callable (Case) -> Sign or None
        Looks for it.
    advice : str
        What to do besides the remedy, or where parameters are of no help.
    source : str
        Where it is described.
    """

    name: str
    check: Check
    advice: str
    source: str


ILLNESSES = (
    Illness(
        "leaking column", data.leaking_columns, "Ask when the column is known, and drop it.", "Kaufman et al. 2012"
    ),
    Illness(
        "validation drawn differently",
        data.shifted_validation,
        "Fit without X_val, or draw it as the rows to be predicted will be.",
        "Lopez-Paz & Oquab 2017; Rabanser et al. 2019",
    ),
    Illness("unscaled columns", data.unscaled_columns, "Let the numbers be scaled.", "LeCun et al. 1998"),
    Illness(
        "exploding gradients",
        layers.exploding_gradients,
        "Scale the initial weights to the rows, and clip the gradients.",
        "Bengio et al. 1994; Pascanu et al. 2013",
    ),
    Illness("over-regularised", layers.over_regularised, "Weaken the penalties.", "Hastie et al. 2009, section 3.4"),
    Illness("learning rate too high", training.rate_too_high, "Lower the learning rate.", "Smith 2017"),
    Illness(
        "collapsing initialisation",
        layers.collapsing_init,
        "Let the initial weights suit the activation.",
        "Glorot & Bengio 2010; He et al. 2015",
    ),
    Illness(
        "saturated units", layers.saturated_units, "Take an activation that does not saturate.", "LeCun et al. 1998"
    ),
    Illness("vanishing gradients", layers.vanishing_gradients, "Take another activation.", "Glorot & Bengio 2010"),
    Illness("dead units", layers.dead_units, "Take an activation without a flat side.", "Maas et al. 2013"),
    Illness("learning rate too low", training.rate_too_low, "Raise the learning rate.", "Smith 2017"),
    Illness("stopped too early", training.stopped_too_early, "Be more patient.", "Prechelt 1998"),
    Illness("still improving", training.still_improving, "Train for longer.", "Prechelt 1998"),
    Illness("noisy labels", data.noisy_labels, "Look at the rows that are predicted worst.", "Northcutt et al. 2021"),
    Illness("unbalanced classes", data.unbalanced_classes, "Weigh the classes.", "King & Zeng 2001"),
    Illness("overfitting", training.overfitting, "Stop early, and regularise more.", "Prechelt 1998"),
    Illness("underfitting", training.underfitting, "Take a larger network.", "Hastie et al. 2009, section 7.3"),
    Illness("too few validation rows", data.few_validation_rows, "Hold out more rows.", "Prechelt 1998"),
    Illness("duplicated columns", data.duplicated_columns, "Drop one of each pair.", "Kaufman et al. 2012"),
    Illness("constant columns", data.constant_columns, "Drop them.", "Kaufman et al. 2012"),
)
