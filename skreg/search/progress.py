"""Notifications to scikit-learn's callbacks about a search."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from .scoring import Candidate


@dataclass
class Caller:
    """The search, for the hooks of callbacks; workers in other processes receive a copy without what stays here."""

    search: Any

    def __getstate__(self) -> dict[str, Any]:
        copied = copy(self.search).set_params(storage=None, sampler=None, pruner=None)
        vars(copied).pop("study_", None)
        return {"search": copied}


class SearchProgress:
    """Notifies scikit-learn's callbacks (scikit-learn 1.9) about a search, each of its fits and the final fit.

    The arguments are the search, the arguments of its ``fit``, and the largest number of fits on folds. Without a
    search, no callback is notified.
    """

    def __init__(self, search: Any = None, X: Any = None, y: Any = None, sample_weight: Any = None, max_fits: int = 0):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": search, "X": X, "y": y, "metadata": metadata}
        self._root = self._search = None
        self._caller = Caller(search)
        self._n_begun = 0
        if hasattr(search, "_init_callback_context"):
            n_tasks = 1 + (search.refit is not False)
            self._root = search._init_callback_context(max_subtasks=n_tasks)  # noqa: SLF001 - hook of scikit-learn
            self._root.call_on_fit_task_begin(**self._arguments)
            self._search = self._root.subcontext(task_name="search", max_subtasks=max_fits, sequential_subtasks=False)
            self._search.call_on_fit_task_begin(estimator=search)

    def context(self, candidate: Candidate, fold: int) -> dict[str, Any]:
        """Arguments of ``fit_and_score`` for the callbacks; they are the same if the fit of a fold is repeated."""
        if self._search is None:
            return {}
        if fold not in candidate.contexts:
            context = self._search.subcontext(task_name="candidate-split-evaluation", task_id=self._n_begun)
            candidate.contexts[fold] = {"caller": self._caller, "callback_ctx": context}
            self._n_begun += 1
        return candidate.contexts[fold]

    def end_search(self) -> None:
        """Notify that all candidates have been evaluated."""
        if self._search is not None:
            self._search.call_on_fit_task_end(estimator=self._arguments["estimator"])

    @contextmanager
    def refitting(self, estimator: Any) -> Iterator[None]:
        """Notify about the final fit, which takes place inside this context."""
        if self._root is None:
            yield
            return
        context = self._root.subcontext(task_name="refit-with-best-params")
        with context.propagate_callback_context(estimator):
            context.call_on_fit_task_begin(**self._arguments)
            yield
        context.call_on_fit_task_end(**self._arguments)

    def close(self) -> None:
        """Notify that the search has ended."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._arguments)
