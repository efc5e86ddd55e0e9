"""The search from Python: `search`, `load`, `resume` and `extend`; `tune.driver` does their work."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.storage.run_directory import RunDirectory
from tune.study.study import Study
from vae.errors import UsageError

if TYPE_CHECKING:  # what loads Ray and Optuna is imported when a search begins
    from ray.tune import Callback

    from tune.driver import Driver
    from tune.space.domains import Space


def search(
    dataset: Any = "fmnist",
    *,
    trials: int = 100,
    budget: int | None = None,
    max_epochs: float | None = None,
    space: "str | Path | Mapping[str, Any] | Space | None" = None,
    storage: str | Path = "runs",
    name: str | None = None,
    objectives: str | Sequence[str] | None = None,
    patience: int | None = None,
    target: float | None = None,
    sampler: str = "tpe",
    scheduler: str = "asha",
    grace_period: float | None = None,
    reduction_factor: float = 8.0,
    min_active_units: int = 1,
    time_budget: float | str | None = None,
    start: bool = True,
    warm_start: str | Path | Study | None = None,
    finalists: int = 3,
    finalists_per_dim: bool = False,
    finalist_seeds: int = 0,
    seed: int = 0,
    data_dir: str | Path | None = None,
    resize: int | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
    address: str | None = None,
    dashboard: bool = False,
    callbacks: Sequence["Callback"] = (),
    trainable: Callable[..., Any] | None = None,
    progress: bool = True,
) -> Study:
    """Search for the VAE with the best embedding of images.

    It runs on the cluster at ``address``, else on the one that the program is connected to by its own
    `ray.init`, else on one that it starts on this machine and stops in the end. Nothing is evaluated on test
    images; `evaluation.evaluate` does that.

    A first Ctrl-C (or SIGTERM) ends the search: partial results are kept, and the study is returned with the
    status ``interrupted``, for `resume`. A second one raises `KeyboardInterrupt`.

    Parameters
    ----------
    dataset
        ``fmnist``, ``mnist``, ``digits``, a path to images, or the images: an array (n, H, W) or
        (n, H, W, C), uint8 or of floats in [0, 1], a tensor (n, C, H, W), or a pair of these and their labels
        (n,). The run directory keeps arrays.
    trials
        Configurations to try, none of them twice: a search also ends when it has tried all of its space.
    budget
        Full budget of a trial: how many training images it sees, each as often as it comes; 400,000 by
        default, which are eight epochs of Fashion-MNIST and more of a smaller set.
    max_epochs
        The same in epochs, such as 8 or 0.5, in place of ``budget``.
    space
        Search space: a YAML file, or what it would contain as a dict; by default that of ``tune/space.yaml``.
    storage
        Directory of all runs, or a URI such as ``s3://bucket/prefix``.
    name
        Name of the run directory in it; ``<dataset>-<time>`` by default.
    objectives
        Metric that ranks the trials, ``val_knn_accuracy`` or without labels ``val_neighbour_recall`` by
        default; two or more search for the Pareto front, where the first one stops weak trials.
        ``latent_dim`` and ``n_parameters``, where smaller is better, can be any but the first.
    patience
        End when so many trials in a row have ended without a better best among the fully trained ones (the
        study's status is ``plateau``); by default never. Trials that failed with an error or ran out of
        memory do not count.
    target
        End when a fully trained trial reaches this value of the (first) objective.
    sampler
        ``tpe``, ``random``, ``gp``, ``cmaes``, ``nsga2``, or ``grid``, which tries every configuration of a
        space without continuous ranges.
    scheduler
        What stops weak trials: ``asha``, ``hyperband``, ``median`` or ``none``.
    grace_period
        Epochs before a trial can be stopped, such as 0.125; by default the budget divided by 64.
    reduction_factor
        One of so many trials continues beyond a rung.
    min_active_units
        A trial with fewer active latent dimensions after the grace period has collapsed and is stopped.
    time_budget
        Seconds, or text such as ``"1h30m"``, within which all of it ends.
    start
        Try the starting points of the space first; False leaves them out.
    warm_start
        Another study, its run directory or its URI: its best configurations are tried first.
    finalists
        How many of the best trials are trained again with fresh seeds, if ``finalist_seeds`` is not 0.
    finalists_per_dim
        Whether the best trial of each other latent dimension is trained again too.
    finalist_seeds
        With how many fresh seeds each of them is trained again.
    seed
        Seed of splits, proposals and trials.
    data_dir
        Where data sets are kept; ``$VAE_DATA_DIR`` or ``./data`` by default.
    resize
        Pixels a side, 8 to 64: the shorter side of each image is scaled to it, and the middle cut out.
    cpus_per_trial, gpus_per_trial
        What a trial asks of the cluster: by default one CPU and, where there are GPUs, a share of one, which
        is measured.
    max_concurrent
        Trials at once; as many as fit by default.
    address
        Ray cluster to join: ``auto`` or ``HOST[:PORT]``.
    dashboard
        Start Ray's dashboard with a cluster on this machine.
    callbacks
        Further callbacks of Ray Tune.
    trainable
        Function that trains a trial instead of `tune.trials.trainable.train_trial`, with the same arguments.
    progress
        Show the progress: a live table on a terminal or in a notebook, lines elsewhere.

    Returns
    -------
    Study
        Its files are complete, however the search has ended.

    Raises
    ------
    UsageError
        An argument is wrong, or does not go with the images; or this is not the main thread.
    StorageError
        The images cannot be read, or the run directory not written.
    ClusterError
        Ray does not start, or loses trials again and again.

    Examples
    --------
    >>> import tune
    >>> study = tune.search("digits", trials=4, max_epochs=4, storage="runs")  # doctest: +SKIP
    >>> study.best_trial.value  # doctest: +SKIP
    0.983
    >>> space = {"architecture": "conv", "latent_dim": {"int": [2, 16]}}
    >>> study = tune.search((images, labels), trials=40, space=space)  # doctest: +SKIP
    """
    from tune.study.plan import Plan

    images, labels = dataset if isinstance(dataset, tuple) else (dataset, None)
    named = isinstance(images, str | Path)
    plan = Plan(
        dataset=str(images) if named else "arrays",
        data_dir=data_dir,  # type: ignore[arg-type]  # the plan converts what it is given
        resize=resize,
        space=space,  # type: ignore[arg-type]
        objectives=objectives,  # type: ignore[arg-type]
        start=start,
        warm_start=warm_start.location if isinstance(warm_start, Study) else warm_start,
        seed=seed,
        trials=trials,
        budget=budget,
        max_epochs=max_epochs,
        grace_period=grace_period,
        reduction_factor=reduction_factor,
        time_budget_s=time_budget,  # type: ignore[arg-type]
        patience=patience,
        target=target,
        sampler=sampler,
        scheduler=scheduler,
        min_active_units=min_active_units,
        finalists=finalists,
        finalists_per_dim=finalists_per_dim,
        finalist_seeds=finalist_seeds,
        evaluate=False,
        name=name,
        storage=storage,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        max_concurrent=max_concurrent,
    )
    driver = _driver(progress, address=address, dashboard=dashboard, callbacks=callbacks, trainable=trainable)
    session = driver.search(plan, None if named else (images, labels))
    return Study(session.run.location)


def load(location: str | Path) -> Study:
    """Open the study of a run directory, also one that is running.

    Parameters
    ----------
    location
        The run directory, or its URI.

    Raises
    ------
    UsageError
        There is no study.
    StorageError
        It cannot be read.

    Examples
    --------
    >>> import tune
    >>> tune.load("nowhere")
    Traceback (most recent call last):
    vae.errors.UsageError: no run directory at nowhere; `python -m tune search` makes one
    """
    return Study(location)


def resume(
    study: str | Path | Study,
    *,
    time_budget: float | str | None = None,
    finalists_per_dim: bool | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    dashboard: bool = False,
    callbacks: Sequence["Callback"] = (),
    trainable: Callable[..., Any] | None = None,
    progress: bool = True,
) -> Study:
    """Continue a study that was interrupted or killed, exactly where it was.

    One that is complete is returned as it is, and so is one that has used its time budget, unless it is given
    another. For the other parameters, for Ctrl-C and for errors see `search`.

    Parameters
    ----------
    study
        The study, its run directory or its URI.
    time_budget
        The budget of this session; by default what remains of the study's.
    finalists_per_dim
        As in `search`; by default what the study has.
    data_dir
        Where data sets are kept, if not where the search found them.

    Raises
    ------
    UsageError
        Another process works on it, or its images are not what they were.

    Examples
    --------
    >>> import tune
    >>> study = tune.resume("runs/mine")  # doctest: +SKIP
    """
    run = _run_directory(study)
    driver = _driver(progress, address=address, dashboard=dashboard, callbacks=callbacks, trainable=trainable)
    driver.resume(run, time_budget=time_budget, finalists_per_dim=finalists_per_dim, data_dir=data_dir)
    return Study(run.location)


def extend(
    study: str | Path | Study,
    *,
    trials: int = 0,
    budget: int | None = None,
    max_epochs: float | None = None,
    finalists: int | None = None,
    finalists_per_dim: bool | None = None,
    finalist_seeds: int | None = None,
    patience: int | None = None,
    target: float | None = None,
    time_budget: float | str | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    dashboard: bool = False,
    callbacks: Sequence["Callback"] = (),
    trainable: Callable[..., Any] | None = None,
    progress: bool = True,
) -> Study:
    """Add trials or budget to a finished study.

    For the other parameters, for Ctrl-C and for errors see `search`.

    Parameters
    ----------
    study
        The study, its run directory or its URI.
    trials
        How many more.
    budget, max_epochs
        The new full budget, in images or in epochs: completed trials and promising stopped ones are trained
        up to it. Their learning rate starts its schedule anew where that had ended with the old budget.
    finalists, finalists_per_dim, finalist_seeds
        As in `search`; by default what the study has.
    patience, target
        As in `search`; by default what the study has, but not a target that is reached. Trials that ended
        before the extension do not count against the patience.
    time_budget
        The budget of this session; by default none.
    data_dir
        Where data sets are kept, if not where the search found them.

    Raises
    ------
    UsageError
        It is not finished, or there is nothing to add.

    Examples
    --------
    >>> import tune
    >>> study = tune.extend("runs/mine", trials=20)  # doctest: +SKIP
    """
    run = _run_directory(study)
    driver = _driver(progress, address=address, dashboard=dashboard, callbacks=callbacks, trainable=trainable)
    driver.extend(
        run,
        trials=trials,
        budget=budget,
        max_epochs=max_epochs,
        finalists=finalists,
        finalists_per_dim=finalists_per_dim,
        finalist_seeds=finalist_seeds,
        patience=patience,
        target=target,
        time_budget=time_budget,
        data_dir=data_dir,
    )
    return Study(run.location)


def _run_directory(study: str | Path | Study) -> RunDirectory:
    return study.run if isinstance(study, Study) else RunDirectory.open(study)


def _driver(progress: bool, **options: Any) -> "Driver":
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("a search must run in the main thread, which alone gets Ctrl-C; call it from there")
    from tune.callbacks.progress import make_console
    from tune.driver import Driver
    from vae.command_line import plain_console

    return Driver(console=make_console() if progress else plain_console(quiet=True), **options)
