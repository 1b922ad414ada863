use std::time::Duration;

use super::*;

#[test]
fn the_same_seed_and_length_are_the_same_plan() {
    assert_eq!(Plan::new(7, 5, false), Plan::new(7, 5, false));
    assert_ne!(Plan::new(7, 5, false).faults, Plan::new(8, 5, false).faults);
}

#[test]
fn every_fault_is_over_when_the_time_is() {
    for seed in 0..200 {
        let plan = Plan::new(seed, 3, false);
        let end = Duration::from_secs(180);
        assert!(
            plan.faults.iter().all(|fault| fault.ends() <= end),
            "{seed}"
        );
        assert!(plan.asks.iter().all(|ask| ask.at < end), "{seed}");
        assert!(plan.faults.len() > 8, "{seed}: {}", plan.faults.len());
        assert!(plan.asks.len() > 2, "{seed}: {}", plan.asks.len());
    }
}

#[test]
fn three_of_ten_faults_hit_a_leader() {
    for seed in 0..200 {
        let plan = Plan::new(seed, 3, false);
        let hits = plan
            .faults
            .iter()
            .filter(|fault| fault.what.hits_a_leader());
        assert!(hits.count() * 10 >= 3 * plan.faults.len(), "{seed}");
    }
}

#[test]
fn some_come_within_five_seconds_of_another() {
    for seed in 0..200 {
        let plan = Plan::new(seed, 3, false);
        let near = |two: &&[Fault]| two[1].at - two[0].at < Duration::from_secs(5);
        assert!(plan.faults.windows(2).filter(near).count() > 0, "{seed}");
    }
}

#[test]
fn what_there_is_but_one_of_has_one_fault_at_a_time() {
    let kinds: [fn(&What) -> bool; 2] = [
        |what| matches!(what, What::ControlDatabase(_)),
        |what| matches!(what, What::Cloud(_)),
    ];
    for seed in 0..200 {
        let plan = Plan::new(seed, 10, false);
        for of_it in kinds {
            let all = plan.faults.iter().filter(|fault| of_it(&fault.what));
            let all: Vec<&Fault> = all.collect();
            let one_by_one = all.windows(2).all(|two| two[0].ends() < two[1].at);
            assert!(one_by_one, "{seed}");
        }
    }
}

#[test]
fn a_follower_is_destroyed_only_if_one_was_added() {
    for seed in 0..200 {
        for which in Which::FOLLOWED {
            let mut more = 0;
            for ask in Plan::new(seed, 10, false).asks {
                match ask.what {
                    Ask::AddFollower(one) if one == which => more += 1,
                    Ask::DestroyFollower(one) if one == which => more -= 1,
                    Ask::AddFollower(_)
                    | Ask::DestroyFollower(_)
                    | Ask::Switchover(_)
                    | Ask::Reboot(_)
                    | Ask::Restart(_)
                    | Ask::Resize(_) => {}
                }
                assert!((0..=1).contains(&more), "{seed}");
            }
        }
    }
}
