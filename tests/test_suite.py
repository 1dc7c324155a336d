"""What a bench test's markers become, and what a record is worth in the table."""

from synthetic import record

from mbbench import suite
from mbbench.case import Budget, Case
from mbbench.profile import Laps, Profile
from mbbench.record import Measurement

CASE = Case(problem="linear", n_samples=100, batch_size=10)


def test_a_profile_is_asked_for_by_its_kind_and_counted_in_steps():
    settings = suite.settings([{"kind": "profile", "seconds": 0.25}])
    assert settings["unit"] == "step"
    [job] = suite.bench_jobs(CASE, settings, smoke=False)
    assert (job.kind, job.budget) == ("profile", Budget(max_seconds=0.25))
    [job] = suite.bench_jobs(CASE, settings, smoke=True)
    assert (job.kind, job.smoke) == ("time", True)


def test_the_rounds_of_a_profile_are_its_steps_and_a_failed_one_has_none():
    laps = Laps(
        steps=(2,), starts=(0,), start_s=(0.0,), batch_s=(1.0,), forward_s=(2.0,), backward_s=(3.0,), optimizer_s=(4.0,)
    )
    ok = Measurement(status="ok", profile=Profile(laps=laps))
    assert [suite.rounds_s(record(CASE, each, kind="profile"), "step") for each in (ok, Measurement(status="oom"))] == [
        (5.0,),
        (),
    ]
