import pandas as pd
import pytest

from evaluation.embedders import (
    Checkpoint,
    Ensemble,
    Pacmap,
    Pca,
    PcaUmap,
    Raw,
    Tsne,
    Umap,
    Untrained,
    Vae,
    VaeUmap,
)
from evaluation.pipeline.plan import Options, plan_embedders, replica_embedders, vae_embedder
from tests.evaluation.conftest import BEST, SECOND, add_objective, write_fresh_seeds
from tune.storage.tables import FINALIST_SEEDS, TRIALS, read_table, write_table
from tune.study.ranking import choose_finalists, rank_finalists
from vae.errors import UsageError


def test_finalists_are_the_best_trials_that_ran_their_full_budget(study):
    assert choose_finalists(study, "max", 2) == ["0001-conv-10d", "0000-fc-4d"]
    assert choose_finalists(study, "min", 9) == ["0004-fc-2d", "0000-fc-4d", "0001-conv-10d"]


def test_a_trial_whose_checkpoint_was_lost_is_no_finalist(study):
    rows = read_table(study.trials_file).to_pylist()
    next(row for row in rows if row["trial_id"] == "0001-conv-10d")["checkpoint"] = None
    write_table(rows, TRIALS, study.trials_file)
    assert choose_finalists(study, "max", 2) == ["0000-fc-4d", "0004-fc-2d"]


def test_a_study_without_a_finished_trial_is_said_with_the_way_out(study):
    row = {"trial_id": "a", "number": 0, "status": "stopped_early", "objective": 0.9}
    write_table([row], TRIALS, study.trials_file)
    with pytest.raises(
        UsageError, match="none of the 1 trials in .* ran its full budget.*--methods raw,pca,umap"
    ):
        choose_finalists(study, "max", 3)


def test_no_finalists_at_all_are_refused(study):
    with pytest.raises(UsageError, match="finalists must be >= 1, got 0"):
        choose_finalists(study, "max", 0)


def test_pca_is_asked_for_the_dimensions_of_the_vaes_too(few_digits, tmp_path):
    vaes = [Vae("a", Checkpoint(tmp_path), 32), Vae("b", Checkpoint(tmp_path), 4)]
    raw, pca, umap, *rest = plan_embedders(few_digits, vaes, Options(seed=7))
    assert (raw, pca, umap) == (Raw(64), Pca((2, 4, 10, 32)), Umap((2, 10), seed=7))
    assert rest == [Untrained(vaes[0]), *vaes, Ensemble(tuple(vaes))]


def test_dimensions_asked_for_are_those_of_pca_and_umap(few_digits):
    embedders = plan_embedders(few_digits, [], Options(methods=["umap", "pca"], dims=[3, 8, 3]))
    assert embedders == [Pca((3, 8)), Umap((3, 8))]


def test_more_dimensions_than_the_data_has_are_refused(few_digits):
    with pytest.raises(UsageError, match="dims must be <= 64, as 300 images of 64 pixels allow, got 65"):
        plan_embedders(few_digits, [], Options(dims=[65]))


def test_an_unknown_method_is_answered_with_the_closest():
    with pytest.raises(UsageError, match="must be one of raw, pca, .*, got 'umpa'; did you mean 'umap'"):
        Options(methods=["umpa"])


def test_a_dimension_below_one_is_refused():
    with pytest.raises(UsageError, match="dims must be >= 1, got 0"):
        Options(dims=[2, 0])


def test_no_method_is_refused(few_digits):
    with pytest.raises(UsageError, match="nothing to evaluate"):
        plan_embedders(few_digits, [], Options(methods=["vae"]))


def test_a_checkpoint_for_other_images_is_refused(study, few_digits):
    few_digits = few_digits.__class__(
        "tall",
        few_digits.train.__class__(few_digits.train.images.repeat(1, 1, 2, 1), None),
        few_digits.test,
        (),
        "",
    )
    checkpoint = study.checkpoint_dir("0000-fc-4d")
    with pytest.raises(UsageError, match=r"takes images of shape \(1, 8, 8\).*'tall' have \(1, 16, 8\)"):
        vae_embedder("a", checkpoint, few_digits)


def test_finalists_are_taken_from_the_pareto_front_first(study):
    add_objective(study, {}, front={"0004-fc-2d", SECOND})
    assert choose_finalists(study, "max", 3) == [SECOND, "0004-fc-2d", BEST]
    assert choose_finalists(study, "min", 2) == ["0004-fc-2d", SECOND]


@pytest.mark.parametrize(("mode", "ranked"), [("max", ["b", "a", "c"]), ("min", ["c", "a", "b"])])
def test_finalists_are_ranked_by_the_mean_of_their_fresh_seeds_if_all_have_some(mode, ranked):
    rows = [("a", "completed", 0.7), ("a", "completed", 0.8), ("b", "completed", 0.79)]
    seeds = pd.DataFrame([*rows, ("c", "completed", 0.1)], columns=["trial_id", "status", "objective"])
    assert rank_finalists(["c", "a", "b"], seeds, mode) == ranked
    assert rank_finalists(["c", "a", "b"], seeds.query("trial_id != 'c'"), mode) == ["c", "a", "b"]
    assert rank_finalists(["c", "a", "b"], seeds[:0], mode) == ["c", "a", "b"]


def test_fresh_seeds_of_finalists_alone_are_embedded(study):
    write_fresh_seeds(study, {BEST: [0.8, None], SECOND: [0.7]})
    vae = Vae(BEST, Checkpoint(study.checkpoint_dir(BEST)), 10, 0)
    assert replica_embedders(study, [vae]) == [
        Vae(BEST, Checkpoint(study.seed_checkpoint_dir(BEST, 1)), 10, 1)
    ]


def test_fresh_seeds_of_another_budget_are_not_embedded(study):
    write_fresh_seeds(study, {BEST: [0.8, 0.9]})
    rows = read_table(study.finalist_seeds_file).to_pylist()
    rows[0]["max_epochs"] = 1
    write_table(rows, FINALIST_SEEDS, study.finalist_seeds_file)
    vae = Vae(BEST, Checkpoint(study.checkpoint_dir(BEST)), 10, 0)
    assert [replica.training_seed for replica in replica_embedders(study, [vae])] == [2]


def test_one_vae_is_no_ensemble_unless_one_is_asked_for_which_is_refused(few_digits, tmp_path):
    vae = Vae("a", Checkpoint(tmp_path), 4)
    assert plan_embedders(few_digits, [vae], Options())[-1] == vae
    with pytest.raises(UsageError, match="an ensemble needs at least 2 VAEs, got 1"):
        plan_embedders(few_digits, [vae], Options(methods=["vae", "ensemble"]))


def test_fresh_seeds_are_embedded_but_are_no_members_of_the_ensemble(few_digits, tmp_path):
    vaes, replicas = (
        [Vae("a", Checkpoint(tmp_path), 4), Vae("b", Checkpoint(tmp_path), 5)],
        [Vae("a", Checkpoint(tmp_path), 4, 1)],
    )
    embedders = plan_embedders(few_digits, vaes, Options(methods=["vae", "ensemble"]), replicas)
    assert embedders == [*vaes, *replicas, Ensemble(tuple(vaes))]


def test_the_dear_methods_wait_to_be_asked_for(few_digits, tmp_path):
    vaes = [Vae("a", Checkpoint(tmp_path), 32), Vae("b", Checkpoint(tmp_path), 4)]
    kinds = (PcaUmap, VaeUmap, Tsne, Pacmap)
    assert not any(isinstance(embedder, kinds) for embedder in plan_embedders(few_digits, vaes, Options()))
    methods = ["pca_umap", "vae_umap", "tsne", "pacmap"]
    assert plan_embedders(few_digits, vaes, Options(methods=methods, seed=7)) == [
        PcaUmap((2, 10), seed=7),
        Tsne((2,), seed=7),
        Pacmap((2, 10), seed=7),
        VaeUmap(vaes[0], (2,), seed=7),
    ]


def test_t_sne_is_for_few_dimensions(few_digits):
    assert plan_embedders(few_digits, [], Options(methods=["tsne"], dims=[1, 2, 10])) == [Tsne((1, 2))]
    with pytest.raises(UsageError, match="tsne needs dims of 1 to 2, got 3; leave it out of --methods"):
        plan_embedders(few_digits, [], Options(methods=["tsne"], dims=[10, 3]))


def test_umap_of_a_vae_takes_only_dimensions_below_its_own(few_digits, tmp_path):
    vae = Vae("a", Checkpoint(tmp_path), 4)
    options = Options(methods=["vae_umap"], dims=[2, 3, 4, 10])
    assert plan_embedders(few_digits, [vae], options) == [VaeUmap(vae, (2, 3))]
    with pytest.raises(UsageError, match="vae_umap needs dims below the 2 of the best finalist, b, got 2"):
        plan_embedders(few_digits, [Vae("b", Checkpoint(tmp_path), 2)], Options(methods=["vae_umap"]))


@pytest.mark.parametrize("method", ["untrained", "vae", "vae_umap", "ensemble"])
def test_methods_that_are_made_of_finalists_ask_for_them(method):
    assert Options(methods=["raw", method]).wants_vaes
    assert not Options(methods=["raw", "pca_umap"]).wants_vaes
