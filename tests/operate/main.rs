//! What changes the world. Here: making and destroying, by real processes on real
//! local servers; below, playbooks and operations step by step, and resolvers killed.

mod changes;
mod durability;
mod ec2;
mod follower_incidents;
mod followers;
mod handing_over;
mod herd;
mod mend;
mod no_writes;
mod on_machines;
mod resolve;
mod stuck;
mod switchover;
mod world;

use std::time::{Duration, Instant};

use rand::RngExt;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_starters_are_made_and_destroyed_again() {
    let world = World::start(1).await;
    let began = Instant::now();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(world.create(&format!("db-{n}"), "starter").await);
    }
    // Ten on each of two servers.
    world.all_available(22).await;
    println!("twenty made in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(world.live("server").await, 2, "starters share servers");
    world.assert_kept_apart().await;
    for id in &ids {
        world.destroy(*id).await;
    }
    world.until_nothing_is_left().await;
    println!(
        "and destroyed again after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    world.assert_no_incident().await;
}

/// Workers die at random while much is made and taken away: in the end there is what
/// should be there, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn resolvers_killed_a_hundred_times_make_nothing_twice_and_leave_nothing_behind() {
    const KILLS: usize = 100;
    let mut world = World::start(0).await;
    for _ in 0..3 {
        world.drover.processes.start("resolve").unwrap();
    }
    let mut ids = Vec::new();
    for n in 0..30 {
        let plan = if n % 5 == 0 { "production" } else { "starter" };
        ids.push(world.create(&format!("db-{n}"), plan).await);
    }
    let (mut doomed, kept) = (ids[..15].to_vec(), &ids[15..]);
    for kill in 0..KILLS {
        let pause = rand::rng().random_range(150..450);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let pids = world.drover.processes.pids("resolve");
        let victim = pids[rand::rng().random_range(0..pids.len())];
        world.drover.processes.kill_pid(victim).unwrap();
        world.drover.processes.start("resolve").unwrap();
        // Some while they are being made, some when they are there.
        if kill % 6 == 5
            && let Some(id) = doomed.pop()
        {
            world.destroy(id).await;
        }
    }
    for id in doomed {
        world.destroy(id).await;
    }
    world.until_settled(kept).await;
    world.assert_cloud_is_as_recorded().await;
    world.assert_no_incident().await;
    for id in kept {
        world.destroy(*id).await;
    }
    world.until_nothing_is_left().await;
}

/// Nothing was made yet, and nothing is ever made: nobody is asked who is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_before_it_was_begun_leaves_nothing() {
    let mut world = World::start(0).await;
    for (name, plan) in [("shared", "starter"), ("own", "production")] {
        let id = world.create(name, plan).await;
        world.destroy(id).await;
    }
    world.drover.processes.start("resolve").unwrap();
    world.until_nothing_is_left().await;
    world.assert_no_incident().await;
}
