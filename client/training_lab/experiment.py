"""An experiment: one spec, run with one or more seeds."""

from training_lab.awaiting import awaited, awaited_each
from training_lab.blocking import blocking, blocking_each
from training_lab.errors import LabError
from training_lab.experiment_plans import ExperimentPlans
from training_lab.run import AsyncRun, Run


class Experiment(ExperimentPlans):
    """An experiment on a service that is waited for."""

    @property
    def runs(self) -> list[Run]:
        """One for each seed, as of the last reading."""
        self._refuse_row("runs")
        return [Run(self._driver, run) for run in self.as_list("runs")]

    @property
    def best_run(self) -> Run:
        """The succeeded run that is best on val; raises Unusable where there is none."""
        return Run(self._driver, self._best())

    refresh = blocking(ExperimentPlans._refresh)
    wait = blocking(ExperimentPlans._wait)
    stream = blocking_each(ExperimentPlans._stream)
    cancel = blocking(ExperimentPlans._cancel)
    pause = blocking(ExperimentPlans._pause)
    resume = blocking(ExperimentPlans._resume)
    retry = blocking(ExperimentPlans._retry)
    delete = blocking(ExperimentPlans._delete)
    edit = blocking(ExperimentPlans._edit)
    clone = blocking(ExperimentPlans._clone)
    verify = blocking(ExperimentPlans._verify)
    verification = blocking(ExperimentPlans._verification)
    reproduce = blocking(ExperimentPlans._reproduce)
    metrics = blocking(ExperimentPlans._metrics)
    curves = blocking(ExperimentPlans._curves)
    confusion = blocking(ExperimentPlans._confusion)
    confusion_matrix = blocking(ExperimentPlans._confusion_matrix)
    gradient_flow = blocking(ExperimentPlans._gradient_flow)
    explanations = blocking(ExperimentPlans._explanations)
    model_folder = blocking(ExperimentPlans._model_folder)

    def _repr_html_(self) -> str:
        """For a notebook: with its curves, if the service draws them soon."""
        try:
            picture = self.curves(format="svg").content
        except LabError:
            picture = None
        return self._html(picture)


class AsyncExperiment(ExperimentPlans):
    """An experiment on a service that is awaited."""

    @property
    def runs(self) -> list[AsyncRun]:
        """One for each seed, as of the last reading."""
        self._refuse_row("runs")
        return [AsyncRun(self._driver, run) for run in self.as_list("runs")]

    @property
    def best_run(self) -> AsyncRun:
        """The succeeded run that is best on val; raises Unusable where there is none."""
        return AsyncRun(self._driver, self._best())

    refresh = awaited(ExperimentPlans._refresh)
    wait = awaited(ExperimentPlans._wait)
    stream = awaited_each(ExperimentPlans._stream)
    cancel = awaited(ExperimentPlans._cancel)
    pause = awaited(ExperimentPlans._pause)
    resume = awaited(ExperimentPlans._resume)
    retry = awaited(ExperimentPlans._retry)
    delete = awaited(ExperimentPlans._delete)
    edit = awaited(ExperimentPlans._edit)
    clone = awaited(ExperimentPlans._clone)
    verify = awaited(ExperimentPlans._verify)
    verification = awaited(ExperimentPlans._verification)
    reproduce = awaited(ExperimentPlans._reproduce)
    metrics = awaited(ExperimentPlans._metrics)
    curves = awaited(ExperimentPlans._curves)
    confusion = awaited(ExperimentPlans._confusion)
    confusion_matrix = awaited(ExperimentPlans._confusion_matrix)
    gradient_flow = awaited(ExperimentPlans._gradient_flow)
    explanations = awaited(ExperimentPlans._explanations)
    model_folder = awaited(ExperimentPlans._model_folder)

    def _repr_html_(self) -> str:
        """For a notebook; without curves, for which it would have to be awaited."""
        return self._html(None)
