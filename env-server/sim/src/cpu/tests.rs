//! Known answers for quotas and shares, without requests.

use super::*;

const MS: Nanos = 1_000_000;

/// A node of 2 cores whose containers have these quotas in milliseconds, all with periods at multiples of 100 ms.
fn node(quotas_ms: &[u64]) -> NodeCpu {
    NodeCpu::new(2.0, quotas_ms.iter().map(|ms| (ms * 1000, 100 * MS)))
}

/// Advances event by event; answers who ended when.
fn run(cpu: &mut NodeCpu, until: Nanos) -> Vec<(Nanos, usize)> {
    let mut ended = Vec::new();
    loop {
        let next = cpu.next_event().min(until);
        cpu.advance_to(next);
        while let Some((container, _)) = cpu.take_finished() {
            ended.push((next, container));
        }
        if next == until {
            return ended;
        }
    }
}

fn work(cpu: &mut NodeCpu, container: usize, call: usize, ms: u64) {
    cpu.start(container, Task::Call(call), float(ms * MS));
}

#[test]
fn tasks_of_a_container_share_it_and_each_has_one_core_at_most() {
    let mut cpu = node(&[1000, 1000]);
    work(&mut cpu, 0, 1, 10);
    assert_eq!(run(&mut cpu, 20 * MS), [(10 * MS, 0)]);
    // Four on two cores run at half speed until the two short ones are gone.
    for (call, ms) in [(1, 10), (2, 10), (3, 20), (4, 20)] {
        work(&mut cpu, 1, call, ms);
    }
    assert_eq!(run(&mut cpu, 60 * MS), [(40 * MS, 1), (40 * MS, 1), (50 * MS, 1), (50 * MS, 1)]);
    assert!((cpu.used_ns(1) - 60e6).abs() < 10.0);
}

#[test]
fn containers_share_the_node_whatever_their_number_of_tasks() {
    let mut cpu = node(&[1000, 1000, 1000]);
    for call in 0..8 {
        work(&mut cpu, 0, call, 1000);
        work(&mut cpu, 1, call, 1000);
    }
    work(&mut cpu, 2, 0, 1000);
    run(&mut cpu, 300 * MS);
    for container in 0..3 {
        assert!((cpu.used_ns(container) - 200e6).abs() < 10.0, "{container}");
    }
}

#[test]
fn a_busy_container_gets_its_quota_and_is_throttled_in_every_period() {
    let mut cpu = node(&[20]);
    work(&mut cpu, 0, 0, 10_000);
    work(&mut cpu, 0, 1, 10_000);
    run(&mut cpu, 1000 * MS);
    let counters = cpu.quota_counters(0);
    assert!((cpu.used_ns(0) - 200e6).abs() < 50.0, "{}", cpu.used_ns(0));
    assert_eq!((counters.periods, counters.throttled_periods), (10, 10));
    // Two tasks use 20 ms in 10 ms; for the other 90 ms two CPUs are held back.
    assert!((counters.throttled_ns - 10.0 * 2.0 * 90e6).abs() < 1000.0, "{}", counters.throttled_ns);
}

#[test]
fn a_container_within_its_quota_is_not_throttled_and_idle_periods_are_not_counted() {
    let mut cpu = node(&[20]);
    work(&mut cpu, 0, 0, 15);
    run(&mut cpu, 500 * MS);
    work(&mut cpu, 0, 1, 15);
    run(&mut cpu, 1000 * MS);
    let expected = QuotaCounters { periods: 2, throttled_periods: 0, throttled_ns: 0.0 };
    assert_eq!(cpu.quota_counters(0), expected);
}

#[test]
fn work_beyond_the_quota_waits_for_the_next_period() {
    let mut cpu = node(&[20]);
    work(&mut cpu, 0, 0, 50);
    assert_eq!(run(&mut cpu, 300 * MS), [(210 * MS, 0)]);
}

#[test]
fn a_higher_quota_releases_at_once() {
    let mut cpu = node(&[20]);
    work(&mut cpu, 0, 0, 50);
    run(&mut cpu, 30 * MS);
    assert!(!cpu.may_run(0));
    cpu.knock(0);
    cpu.set_quota(0, Limit::At(100_000));
    assert_eq!((cpu.take_released(), cpu.take_released()), (Some(0), None));
    assert_eq!(run(&mut cpu, 100 * MS), [(60 * MS, 0)]);
    cpu.set_quota(0, Limit::Max);
    work(&mut cpu, 0, 1, 500);
    assert_eq!(run(&mut cpu, 1000 * MS), [(600 * MS, 0)]);
}

#[test]
fn who_knocks_at_a_throttled_container_is_let_in_at_the_next_period() {
    let mut cpu = node(&[20]);
    work(&mut cpu, 0, 0, 20);
    assert_eq!(run(&mut cpu, 50 * MS), [(20 * MS, 0)]);
    assert!(!cpu.may_run(0));
    cpu.knock(0);
    assert_eq!(cpu.next_event(), 100 * MS);
    run(&mut cpu, 100 * MS);
    assert_eq!(cpu.take_released(), Some(0));
    assert_eq!(cpu.quota_counters(0).throttled_periods, 1);
}

#[test]
fn cancelled_burners_stop_using_cpu() {
    let mut cpu = node(&[1000]);
    work(&mut cpu, 0, 0, 1000);
    cpu.start(0, Task::Burner { injection: 7, thread: 0 }, 1e9);
    run(&mut cpu, 10 * MS);
    cpu.cancel_burners(0, 7);
    run(&mut cpu, 20 * MS);
    assert!((cpu.used_ns(0) - 30e6).abs() < 10.0);
}
