//! The followers of the leaders on a server, as witnesses of it. Their receivers hear from a
//! leader that lives every few seconds, over another network than drover's.

use std::time::Duration;

use drover::model::{SecretKey, Server, SubjectId, Witness, slot_of};
use drover::store::creation;
use drover::store::observations;
use drover::store::subjects::{self, Known};
use futures::future::join_all;
use sqlx::PgPool;
use tokio::time::timeout;

use super::context::FeelContext;
use super::resource;

/// How long it may take to read who they are.
const READ: Duration = Duration::from_secs(1);
/// How long one of them may; the others are not kept waiting.
const ANSWER: Duration = Duration::from_secs(2);

/// Where it is written down who follows, and how to log in there.
#[derive(Clone)]
pub struct Followers {
    pool: PgPool,
    secret_key: SecretKey,
}

impl Followers {
    /// As this record knows them.
    pub fn new(pool: PgPool, secret_key: SecretKey) -> Self {
        Self { pool, secret_key }
    }
}

/// Those who streamed from this server when its leaders were last seen in service; nobody, where
/// the record does not say it in time.
pub(super) async fn of(server: &Server, cx: &FeelContext) -> Vec<Known> {
    let Some(record) = &cx.followers else {
        return vec![];
    };
    let found = timeout(READ, record.streamed_from(server.subject.id)).await;
    found.ok().and_then(Result::ok).unwrap_or_default()
}

/// What they say of it: one that hears from it still knows it alive, whatever the others say.
/// `None`: there is nobody, or nobody can be asked.
pub(super) async fn ask(followers: &[Known]) -> Option<Witness> {
    let asked = followers.iter().map(|known| async {
        let Known::Resource(follower, its_server) = known else {
            return None;
        };
        let seen = timeout(ANSWER, resource::feel(follower, its_server)).await;
        let hears = seen.ok()?.resource.receiver.as_ref()?.hears()?;
        Some((follower.subject.name.clone(), hears))
    });
    testimony(join_all(asked).await.into_iter().flatten().collect())
}

fn testimony(said: Vec<(String, bool)>) -> Option<Witness> {
    let named = |hear: bool| {
        let who = said.iter().filter(|(_, hears)| *hears == hear);
        let names: Vec<&str> = who.map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = named(true) {
        let detail = format!("heard by its followers: {names}");
        return Some(Witness::Up { detail });
    }
    let detail = format!("not heard any more by its followers: {}", named(false)?);
    Some(Witness::Down { detail })
}

impl Followers {
    async fn streamed_from(&self, server: SubjectId) -> anyhow::Result<Vec<Known>> {
        let mut db = self.pool.acquire().await?;
        let pairs = creation::followers_elsewhere(&mut db, server).await?;
        let mut leaders: Vec<SubjectId> = pairs.iter().map(|pair| pair.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        let mut streamed = Vec::new();
        for leader in leaders {
            let Some(seen) = observations::last_led(&mut db, leader).await? else {
                continue;
            };
            let its = pairs.iter().filter(|pair| pair.leader == leader);
            streamed.extend(its.map(|pair| pair.follower).filter(|follower| {
                let followers = seen.attributes.resource.followers.as_deref();
                let slot = slot_of(*follower);
                followers.is_some_and(|all| all.iter().any(|one| one.streams_as(&slot)))
            }));
        }
        let rows = subjects::load(&mut db, &streamed).await?;
        drop(db);
        let nodes = rows.into_iter().map(|row| row.open(&self.secret_key));
        let nodes: anyhow::Result<Vec<Known>> = nodes.collect();
        let trusted = |known: &Known| match known {
            Known::Resource(_, its_server) => its_server.host_key_changed_at.is_none(),
            Known::Server(_) => false,
        };
        Ok(nodes?.into_iter().filter(trusted).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hears_outweighs_all_that_do_not() {
        let said = |all: &[(&str, bool)]| {
            let all = all.iter().map(|(name, hears)| ((*name).to_owned(), *hears));
            testimony(all.collect())
        };
        assert_eq!(said(&[]), None);
        let detail = "not heard any more by its followers: a, b".to_owned();
        let down = Some(Witness::Down { detail });
        assert_eq!(said(&[("a", false), ("b", false)]), down);
        let detail = "heard by its followers: b".to_owned();
        let up = Some(Witness::Up { detail });
        assert_eq!(said(&[("a", false), ("b", true)]), up);
    }
}
