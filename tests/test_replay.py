from mbbench.replay import ReplayClock


def test_a_replay_clock_stands_still_but_for_the_rounds_it_was_given():
    clock = ReplayClock()
    clock.load([0.25, 0.5])
    readings = [clock()]
    for _ in range(3):
        clock.tick()
        readings += [clock(), clock()]
    assert readings == [0.0, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75]
    assert clock.__name__ == "worker_clock"
