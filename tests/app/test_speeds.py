"""What a run will take here, by what others took: near the truth after a few, never moved by one, never no number."""

import math
from datetime import timedelta
from random import Random

import pytest
from sqlmodel import Session, select

from app.services import lifecycle
from app.services.experiments.filtering import Filters, conditions
from app.services.experiments.speeds import Finished, LatestSpeeds, Speeds, speeds
from app.services.lifecycle import EpochDone
from app.storage.db import Database
from app.storage.tables import Attempt, Experiment, Run, Worker, utc_now
from tests.app.rows import create

SLOWER = 1.8
"""Seconds of this imagined machine for each nominal one."""
FIXED = 2.5


def history(
    rng: Random, count: int, *, arch: str = "mlp", kind: str = "train", slower: float = SLOWER
) -> list[Finished]:
    """Runs of networks from tiny to large on a machine with some noise, a tiny one relatively slower."""
    found = []
    for _ in range(count):
        nominal = 10 ** rng.uniform(-1, 3)
        seconds = nominal * slower * rng.uniform(0.9, 1.15) + 0.1
        found.append(Finished(kind, arch, nominal, seconds, FIXED * rng.uniform(0.8, 1.3)))
    return found


def test_without_three_comparable_runs_the_nominal_cost_is_what_is_known() -> None:
    few = history(Random(1), 2)
    for known in (Speeds(), Speeds(few)):
        found = known.expected("train", "mlp", 60.0)
        assert (found.seconds, found.num_runs) == (60.0, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("nominal", [0.3, 5.0, 67.0, 1700.0])
def test_the_estimate_converges_to_what_runs_take(seed: int, nominal: float) -> None:
    truth = nominal * SLOWER + FIXED + 0.1
    errors = []
    for count in (3, 30, 200):
        found = Speeds(history(Random(seed), count)).expected("train", "mlp", nominal)
        errors.append(abs(math.log(found.seconds / truth)))
        assert found.num_runs == count
    assert errors[0] < math.log(1.6)
    assert errors[2] < math.log(1.2)


@pytest.mark.parametrize("odd", [0.0, 1e-3, 50.0, 1e6])
@pytest.mark.parametrize("count", [3, 12, 100])
def test_a_single_odd_run_does_not_move_it_much(odd: float, count: int) -> None:
    runs = history(Random(3), count)
    before = Speeds(runs).expected("train", "mlp", 60.0)
    stood = runs[0].nominal_seconds
    disturbed = [Finished("train", "mlp", stood, stood * odd, FIXED * odd), *runs]
    after = Speeds(disturbed).expected("train", "mlp", 60.0)
    assert after.seconds == pytest.approx(before.seconds, rel=0.25)


@pytest.mark.parametrize("nominal", [0.0, 1e-9, 0.1, 1e12])
@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_whatever_runs_took_the_answer_is_a_number(nominal: float, seconds: float) -> None:
    runs = [Finished("train", "mlp", cost, seconds, 0.0) for cost in (0.1, 1e-6, 1e9)]
    known = Speeds(runs)
    for found in (known.expected("train", "mlp", nominal).seconds, known.seconds("x", None, 1.0)):
        assert math.isfinite(found)
        assert found >= 0


def test_a_network_is_compared_with_its_own_kind_then_with_its_family_and_never_with_the_other() -> (
    None
):
    mlps = history(Random(4), 20, arch="mlp", slower=2.0)
    cnns = history(Random(5), 20, arch="cnn", slower=0.5)
    vggs = history(Random(6), 20, arch="vgg", slower=1.0)
    known = Speeds([*mlps, *cnns, *vggs])
    assert known.expected("train", "mlp", 100.0).seconds == pytest.approx(204, rel=0.1)
    assert known.expected("train", "cnn", 100.0).seconds == pytest.approx(53, rel=0.15)
    resnet = known.expected("train", "resnet18", 100.0)
    assert (resnet.num_runs, 45 < resnet.seconds < 120) == (40, True)
    student = known.expected("distill", "mlp", 100.0)
    assert student.num_runs == 20
    assert Speeds(mlps).expected("train", "cnn", 100.0).num_runs == 0
    assert Speeds(mlps).seconds("train", "cnn", 100.0) == pytest.approx(204, rel=0.1), (
        "the queue has nothing better"
    )


def test_a_list_of_layers_without_convs_is_of_the_family_of_mlps_and_listed_as_layers(
    database: Database,
) -> None:
    with database.writing() as session:
        made = [
            create(session, {"dataset": "mnist", "model": {"layers": layers}})
            for layers in ([{"conv": 8}], ["flatten", {"linear": 8}])
        ]
        lists = [one.arch for one in made]
        asked = select(Experiment.id).where(*conditions(Filters(network="layers")))
        assert set(session.exec(asked)) == {one.id for one in made}
    known = Speeds(history(Random(4), 20, arch="mlp", slower=2.0))
    assert [known.expected("train", arch, 100.0).num_runs for arch in lists] == [0, 20]


def finished(
    session: Session, *, device: str = "cpu: any", stop_reason: str = "all_epochs", **body: object
) -> str:
    """A run that has just succeeded, with phases ten times its nominal cost and four seconds beside it."""
    experiment = create(session, {"epochs": 4, **body})
    session.flush()
    lease = lifecycle.claim(session, "tester")
    assert lease is not None
    lifecycle.renew(session, lease, EpochDone(2 if stop_reason != "all_epochs" else 4, 1, {}))
    lifecycle.succeed(session, lease, best={}, test={"accuracy": 0.9}, stop_reason=stop_reason)
    nominal = session.get_one(Experiment, experiment.id).nominal_seconds
    assert nominal is not None
    session.flush()
    session.expire_all()
    session.get_one(Run, lease.run_id).environment = {
        "device": device,
        "micro_batches": 1,
    }
    session.get_one(Attempt, (lease.run_id, 1)).phases = {
        "starting": 1.0,
        "data": 3.0,
        "training": 9 * nominal,
        "validation": nominal,
    }
    return experiment.id


MLP = {"dataset": "mnist", "model": {"depth": 3, "width": 256}}


def test_finished_runs_say_what_the_next_takes(database: Database) -> None:
    with database.writing() as session:
        for seed in range(3):
            experiment_id = finished(session, seeds=[seed], **MLP)
    with database.reading() as session:
        experiment = session.get_one(Experiment, experiment_id)
        assert (experiment.kind, experiment.arch) == ("train", "mlp")
        assert experiment.nominal_seconds is not None
        found = speeds(session).expected("train", "mlp", experiment.nominal_seconds)
    assert found.num_runs == 3
    assert found.seconds == pytest.approx(10 * experiment.nominal_seconds + 4.0)


def test_a_run_that_stopped_early_counts_for_what_it_trained(database: Database) -> None:
    with database.writing() as session:
        for seed in range(3):
            experiment_id = finished(session, seeds=[seed], stop_reason="stagnation", **MLP)
    with database.reading() as session:
        nominal = session.get_one(Experiment, experiment_id).nominal_seconds
        assert nominal is not None
        found = speeds(session).expected("train", "mlp", nominal)
    assert found.seconds == pytest.approx(20 * nominal + 4.0)


def test_runs_on_another_kind_of_device_than_the_workers_online_do_not_count(
    database: Database,
) -> None:
    with database.writing() as session:
        for seed in range(4):
            finished(session, seeds=[seed], device="cpu: old" if seed else "cuda: H200", **MLP)
        now = utc_now()
        session.add(
            Worker(id="w", host="h", pid=1, device="cpu", threads=1, started_at=now, seen_at=now)
        )
    with database.reading() as session:
        assert speeds(session).expected("train", "mlp", 5.0).num_runs == 3
    with database.writing() as session:
        session.get_one(Worker, "w").seen_at = utc_now() - timedelta(hours=1)
    with database.reading() as session:
        assert speeds(session).expected("train", "mlp", 5.0).num_runs == 4


def test_all_who_ask_share_a_look(database: Database) -> None:
    latest = LatestSpeeds(60.0)
    with database.reading() as session:
        known = latest(session)
    with database.writing() as session:
        finished(session)
    with database.reading() as session:
        assert latest(session) is known
        assert not latest(session).are_known
        assert LatestSpeeds(0.0)(session).are_known


def test_runs_of_the_same_precision_count_before_others_and_others_before_none() -> None:
    slow = [Finished("train", "cnn", 100.0, 300.0, 0.0, "bfloat16") for _ in range(3)]
    fast = [Finished("train", "cnn", 100.0, 100.0, 0.0) for _ in range(9)]
    known = Speeds([*fast, *slow])
    assert known.expected("train", "cnn", 100.0, "bfloat16").seconds == pytest.approx(300.0)
    assert known.expected("train", "cnn", 100.0, "float32").seconds == pytest.approx(100.0)
    found = Speeds(fast).expected("train", "cnn", 50.0, "bfloat16")
    assert (found.seconds, found.num_runs) == (pytest.approx(50.0), 9)


def test_the_precision_of_what_has_finished_is_read_with_it(database: Database) -> None:
    with database.writing() as session:
        for seed in range(3):
            finished(session, seeds=[seed], **MLP, precision="bfloat16")
    with database.reading() as session:
        assert {one.precision for one in speeds(session)._finished} == {"bfloat16"}


def test_what_an_older_version_has_priced_by_other_constants_does_not_count(
    database: Database,
) -> None:
    with database.writing() as session:
        finished(session, **MLP)
        run = session.exec(select(Run)).one()
        run.environment = {"device": "cpu: any"}
        session.add(run)
    with database.reading() as session:
        assert not speeds(session).are_known
