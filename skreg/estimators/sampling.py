"""Samples of predictions: the predictions of single members, with or without Monte Carlo dropout."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._utils.threads import torch_threads
from .._utils.validation import parameter_error
from ..data.table import check_table
from ..network.inference import sample_raw
from ..uncertainty.decomposition import Uncertainty
from .streaming import StreamingMLP


class SamplingMLP(StreamingMLP):
    """An estimator that also says what each of its networks predicts."""

    def sample_predictions(
        self, X: Any, n_samples: int = 100, random_state: Any = None, *, dropout: bool = True
    ) -> np.ndarray:
        """Predictions of single networks: each in turn, thinned by dropout in another way each time.

        The estimator has ``n_members`` networks. Sample s is of network s
        modulo their number, members first, so that a multiple of that number asks all alike. Each sample drops units of
        its own at the rates of training (Gal & Ghahramani 2016, "Dropout as a Bayesian approximation"), the same ones
        for all rows. A sample of a row depends neither on the rows beside it nor on how many samples there are.
        Without dropout samples repeat after the last network.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_rows, n_features)
            As in ``predict``.
        n_samples : int, default=100
            How many predictions of each row.
        random_state : int, RandomState instance or None, default=None
            Seed of what is dropped. None takes ``seed_``, so that the same rows get the same samples.
        dropout : bool, default=True
            Whether networks are thinned; False leaves them whole.

        Returns
        -------
        ndarray of shape (n_samples, n_rows, ...)
            What ``predict_proba`` or ``predict`` says of a row, of each network alone.
        """
        return np.concatenate(list(self._sampled(X, n_samples, random_state, dropout)), 1)

    def predict_uncertainty(
        self, X: Any, n_samples: int = 100, random_state: Any = None, *, dropout: bool = True
    ) -> Uncertainty:
        """How unsure each row is, and what of that is noise.

        Of classes the entropy of the mean probabilities is the mean entropy of the samples, noise, and their mutual
        information, which is the network's. Of numbers the variance is that of the target around the predictions, as
        the held-out rows have it, and the variance of the samples; with several quantiles it is of the one nearest to
        the median, and the noise goes by their distance. One network without dropout has no samples that could differ:
        its ``epistemic`` is 0, and ``source`` says so.

        Parameters
        ----------
        X, n_samples, random_state, dropout : as in ``sample_predictions``
            What is asked, how often, and of which networks.

        Returns
        -------
        Uncertainty
            Arrays ``mean``, ``total``, ``aleatoric`` and ``epistemic``, ``total`` being the sum of the other two.

        Raises
        ------
        ValueError
            If numbers are predicted and no rows were held out.
        """
        parts = [self._decompose(drawn) for drawn in self._sampled(X, n_samples, random_state, dropout)]
        names = ("mean", "total", "aleatoric", "epistemic")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Uncertainty(**arrays, source=self._source(dropout))

    @abstractmethod
    def _decompose(self, drawn: np.ndarray) -> Uncertainty:
        """What samples of rows say together."""

    @abstractmethod
    def _format_prediction(self, decoded: np.ndarray) -> np.ndarray:
        """Decoded rows as the user sees them."""

    def _sampled(self, X: Any, n_samples: int, random_state: Any, dropout: bool) -> Iterator[np.ndarray]:
        """Samples ``(n_samples, rows, ...)`` of blocks of rows."""
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
            raise parameter_error(self, "n_samples", "an int in the range [1, inf)", n_samples)
        X = validate_data(self, check_table(X), reset=False, skip_check_array=True)
        seed = self.seed_
        if random_state is not None:
            seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        draw = partial(sample_raw, self.net_.module_, n_samples=int(n_samples), dropout=dropout, seed=seed)
        networks = self.net_.module_.n_members
        with torch_threads(self.n_threads):
            for raw in self._raw_blocks(X, draw):
                owners = [slice(s % networks, s % networks + 1) for s in range(n_samples)]
                decoded = [self._decode(raw[s : s + 1], owner) for s, owner in enumerate(owners)]
                yield np.stack([self._format_prediction(sample) for sample in decoded])

    def _source(self, dropout: bool) -> str:
        """What samples are of, in words."""
        module = self.net_.module_
        thinned = dropout and module.uses_dropout
        networks = module.n_members
        if networks == 1 and not thinned:
            return "one network without dropout, which has nothing to differ from: epistemic is 0"
        return f"{networks} network{'s' if networks > 1 else ''}{', thinned by dropout' if thinned else ''}"
