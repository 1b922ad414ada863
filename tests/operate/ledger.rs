//! A stream of commits by the address with all nodes: what was acknowledged has to be
//! there in the end.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::world::World;

/// One that is being written.
pub struct Ledger {
    id: String,
    url: String,
    stop: Stop,
    writer: JoinHandle<(Vec<i32>, Duration)>,
}

/// Ends the writing, also when a test fails: the runtime waits for it.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Ledger {
    /// Makes the table `ledger` and begins to write. `id` is whose address it is, and
    /// must be known to somebody in the end.
    pub async fn open(world: &World, id: &str) -> Self {
        let url = world.url(id, "leader").await;
        world
            .psql(id, &url, "create table ledger (n int primary key)")
            .unwrap();
        let path = format!("/v1/resources/{id}/credentials");
        let credentials = world.drover.api.get(&path).await.unwrap();
        let password = credentials["password"].as_str().unwrap().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let (to, flag, certs) = (url.clone(), stop.clone(), world.root_certs(id));
        let writer = tokio::task::spawn_blocking(move || write(&flag, &to, &password, &certs));
        Self {
            id: id.into(),
            url,
            stop: Stop(stop),
            writer,
        }
    }

    /// Ends it: nothing that was acknowledged is lost. Gives the longest pause between
    /// two commits.
    pub async fn close(self, world: &World) -> Duration {
        drop(self.stop);
        let (acknowledged, longest) = self.writer.await.unwrap();
        println!(
            "{} commits, the longest pause {:.2} s",
            acknowledged.len(),
            longest.as_secs_f64()
        );
        let there = world
            .psql(&self.id, &self.url, "select n from ledger order by n")
            .unwrap();
        let there: Vec<i32> = there.lines().map(|n| n.parse().unwrap()).collect();
        let lost: Vec<&i32> = acknowledged.iter().filter(|n| !there.contains(n)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert!(acknowledged.len() > 20);
        longest
    }
}

/// Writes one row after the other, each acknowledged before the next. Gives what was
/// acknowledged, and the longest pause between two.
fn write(stop: &AtomicBool, url: &str, password: &str, certs: &Path) -> (Vec<i32>, Duration) {
    let (mut acknowledged, mut longest) = (Vec::new(), Duration::ZERO);
    let mut last = Instant::now();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let done = Command::new("psql")
            .args(["-XAtqc", &format!("insert into ledger values ({n})"), url])
            .env("PGPASSWORD", password)
            .env("PGSSLROOTCERT", certs)
            .env("PGCONNECT_TIMEOUT", "2")
            .output()
            .unwrap();
        if done.status.success() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            acknowledged.push(n);
        }
    }
    (acknowledged, longest)
}
