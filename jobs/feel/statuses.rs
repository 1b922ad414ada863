//! What clouds say of servers' instances: checks and scheduled events.
//!
//! EC2 counts calls, and one call can be about a hundred instances. So what it said is
//! shared by all feel workers through the control database: whoever finds the answer
//! about its own server too old asks about that and the oldest others, and the rest
//! read what it wrote. The local cloud is a look into `/proc`, and asked directly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use drover::model::{self, Cause, CloudEvent, CloudFigures, Each, Server, Witness};
use drover::store::instance_statuses::{self, Known, Place};
use serde_json::{Map, json};
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::context::FeelContext;
use crate::cloud::{AnyCloud, Cloud as _, NOT_FOUND, ScheduledEvent, Status};
use crate::ring::{BatchError, Batcher};

/// Instances that one call is about, at most.
const TOGETHER: u16 = 100;
/// The longest that a feel waits for any of this.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest that the cloud may take.
const CALL: Duration = Duration::from_millis(2500);
/// With less time than this left, nothing is asked any more.
const LEAST: Duration = Duration::from_millis(300);
/// Between two looks whether somebody else has an answer.
const LOOK: Duration = Duration::from_millis(100);

/// Looks that go into one statement, and how long one waits for company.
const BATCH: usize = 500;
const LINGER: Duration = Duration::from_millis(2);

/// How old an answer may be.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Up to this, it is taken as it is.
    fresh: Duration,
    /// Up to this, while somebody asks for a newer one.
    meanwhile: Duration,
}

/// For what is noted at every feel: a cadence, so that no instance is asked about
/// twice in one.
pub const ORDINARY: Age = Age {
    fresh: Duration::from_secs(30),
    meanwhile: Duration::from_secs(90),
};

/// For a witness of what is silent now.
pub const NOW: Age = Age {
    fresh: Duration::from_secs(2),
    meanwhile: Duration::ZERO,
};

/// What feel workers share of it. Clones share what is shared within a process.
#[derive(Clone)]
pub struct Statuses {
    pool: PgPool,
    looks: Batcher<(Place, String), Option<Known>>,
    turn: Arc<Mutex<()>>,
}

impl Statuses {
    /// Through this control database; to be called within a runtime.
    pub fn new(pool: PgPool) -> Self {
        let record = pool.clone();
        let looks = Batcher::spawn(BATCH, LINGER, move |wanted: Vec<(Place, String)>| {
            let record = record.clone();
            async move { instance_statuses::look(&mut *record.acquire().await?, &wanted).await }
        });
        Self {
            pool,
            looks,
            turn: Arc::default(),
        }
    }
}

/// What a cloud said of one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The newest answer and its time; within it `None`: it does not know it.
    pub answer: Option<(Option<Status>, DateTime<Utc>)>,
    /// Why there is none, or no newer one.
    pub problem: Option<String>,
}

impl Said {
    fn nothing(problem: impl Into<String>) -> Self {
        let problem: String = problem.into();
        Self {
            answer: None,
            problem: Some(problem.chars().take(200).collect()),
        }
    }

    fn answer(status: Option<Status>, at: DateTime<Utc>) -> Self {
        Self {
            answer: Some((status, at)),
            problem: None,
        }
    }

    /// As an observation holds it.
    pub fn shown(&self) -> CloudFigures {
        let mut shown = match &self.answer {
            Some((Some(status), _)) => CloudFigures {
                state: Some(status.state.clone()),
                instance_check: Some(status.instance_check.clone()),
                system_check: Some(status.system_check.clone()),
                volume_check: Some(status.volume_check.clone()),
                events: Some(Each(status.events.iter().map(planned).collect())),
                ..CloudFigures::default()
            },
            Some((None, _)) => CloudFigures {
                state: Some(NOT_FOUND.into()),
                ..CloudFigures::default()
            },
            None => CloudFigures::default(),
        };
        let at = self.answer.as_ref().map(|(_, at)| at);
        shown.asked_at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        shown.problem = self.problem.clone();
        shown
    }

    /// What it says as a witness of this instance.
    pub fn witness(&self, instance_id: &str) -> Witness {
        let silent = |cause, detail| Witness::Silent { cause, detail };
        let status = match (&self.problem, &self.answer) {
            (Some(problem), _) => return silent(Cause::Error, problem.clone()),
            (None, Some((Some(status), _))) => status,
            (None, Some((None, _)) | None) => {
                let detail = format!("the cloud does not know instance {instance_id}");
                return silent(Cause::Error, detail);
            }
        };
        let mut detail = format!("instance {instance_id} is {}", status.state);
        let impaired: Vec<&str> = [
            ("instance", &status.instance_check),
            ("system", &status.system_check),
            ("volume", &status.volume_check),
        ]
        .iter()
        .filter(|(_, check)| *check == "impaired")
        .map(|(name, _)| *name)
        .collect();
        if !impaired.is_empty() {
            detail += &format!("; impaired: {}", impaired.join(", "));
        }
        match status.state.as_str() {
            // The hardware under it, or the way to it: as good as down.
            "running" if impaired.iter().any(|name| *name != "volume") => Witness::Down { detail },
            "running" => Witness::Up { detail },
            "pending" | "stopping" | "stopped" | "shutting-down" | "terminated" => {
                Witness::Down { detail }
            }
            _ => silent(Cause::Error, detail),
        }
    }
}

fn planned(event: &ScheduledEvent) -> CloudEvent {
    CloudEvent {
        code: Some(event.code.clone()),
        description: Some(event.description.clone()),
        not_before: event.not_before,
        not_after: event.not_after,
    }
}

/// What the server's cloud says of it; `None`: it is in no cloud that may be asked.
/// Takes no longer than 3 s, and a cloud that does not answer is an answer.
pub async fn of(server: &Server, cx: &FeelContext, age: Age) -> Option<Said> {
    let (cloud, id) = (server.cloud?, server.instance_id.as_deref()?);
    let any = cx.clouds.of(cloud, server.region.as_deref())?;
    let asked = async {
        match (&cx.statuses, place(server, cx, cloud)) {
            (Some(record), Some(place)) => {
                let shared = shared(record, &place, any, id, age).await;
                shared.unwrap_or_else(|e| Said::nothing(format!("the record: {e}")))
            }
            (None, _) | (_, None) => alone(any, id).await,
        }
    };
    let said = tokio::time::timeout(LIMIT, Box::pin(asked)).await;
    Some(said.unwrap_or_else(|_| Said::nothing("the cloud did not answer within 3 s")))
}

/// Where the answers about it are shared; `None`: they are not.
fn place(server: &Server, cx: &FeelContext, cloud: model::Cloud) -> Option<Place> {
    match cloud {
        model::Cloud::Local => None,
        model::Cloud::Ec2 => {
            let regions = cx.clouds.regions().into_iter();
            let mut regions = regions.filter(|(there, _)| *there == cloud);
            let (_, first) = regions.next()?;
            let region = server.region.clone().unwrap_or_else(|| first.clone());
            Some(Place {
                unplaced: region == first,
                cloud,
                region,
            })
        }
    }
}

async fn alone(cloud: AnyCloud<'_>, id: &str) -> Said {
    let ids = [id.to_owned()];
    match cloud.statuses(&ids).await {
        Ok(mut statuses) => Said::answer(statuses.pop().map(|(_, status)| status), Utc::now()),
        Err(e) => Said::nothing(format!("{e:#}")),
    }
}

async fn shared(
    record: &Statuses,
    place: &Place,
    cloud: AnyCloud<'_>,
    id: &str,
    age: Age,
) -> Result<Said, BatchError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let known = record.look(place, id).await?;
        let young = |age: Duration| {
            let seconds = known.as_ref().and_then(|known| known.age_s);
            seconds.is_some_and(|seconds| seconds <= age.as_secs_f64())
        };
        let asked = known.as_ref().is_some_and(|known| known.asked);
        let in_vain = known.as_ref().is_some_and(|known| known.problem.is_some());
        let left = deadline.saturating_duration_since(Instant::now());
        if young(age.fresh) || in_vain || (asked && young(age.meanwhile)) {
            return Ok(known.map_or_else(|| Said::nothing("no answer"), said));
        }
        if left < LEAST {
            return Ok(Said {
                problem: Some("no answer of the cloud's within 3 s".into()),
                ..known.map_or_else(|| Said::nothing(""), said)
            });
        }
        // In one process one at a time tries, so that its connections are not busy
        // with those who try in vain.
        let turn = record.turn.try_lock().ok().filter(|_| !asked);
        if turn.is_some() {
            let mine = record.claim(place, id, age.fresh).await?;
            drop(turn);
            if !mine.is_empty() {
                return Ok(record.ask(place, cloud, id, &mine, left.min(CALL)).await?);
            }
        }
        tokio::time::sleep(LOOK.mul_f64(rand::random_range(0.5..=1.5))).await;
    }
}

impl Statuses {
    async fn look(&self, place: &Place, id: &str) -> Result<Option<Known>, BatchError> {
        self.looks.submit((place.clone(), id.to_owned())).await
    }

    async fn claim(&self, place: &Place, id: &str, oldest: Duration) -> sqlx::Result<Vec<String>> {
        let mut tx = self.pool.begin().await?;
        let mine = instance_statuses::claim(&mut tx, place, id, oldest, TOGETHER).await?;
        tx.commit().await?;
        Ok(mine)
    }

    /// One call for all of them, and its answer into the record.
    async fn ask(
        &self,
        place: &Place,
        cloud: AnyCloud<'_>,
        id: &str,
        mine: &[String],
        limit: Duration,
    ) -> sqlx::Result<Said> {
        // What is left after the call is for writing down what came of it.
        let limit = limit.saturating_sub(LEAST / 2);
        let asked = tokio::time::timeout(limit, cloud.statuses(mine)).await;
        let mut db = self.pool.acquire().await?;
        let problem = match asked {
            Ok(Ok(statuses)) => {
                let all = statuses.iter().map(|(id, s)| (id.clone(), json!(s)));
                let all: Map<_, _> = all.collect();
                let at = instance_statuses::answered(&mut db, place, mine, &all).await?;
                let own = statuses.into_iter().find(|(known, _)| known == id);
                return Ok(Said::answer(own.map(|(_, status)| status), at));
            }
            Ok(Err(e)) => Said::nothing(format!("{e:#}")),
            Err(_) => Said::nothing(format!("no answer of the cloud's within {limit:.1?}")),
        };
        let text = problem.problem.as_deref().unwrap_or_default();
        instance_statuses::failed(&mut db, place, mine, text).await?;
        let wanted = [(place.clone(), id.to_owned())];
        let known = instance_statuses::look(&mut db, &wanted).await?.pop();
        Ok(known.flatten().map_or(problem, said))
    }
}

fn said(known: Known) -> Said {
    // What cannot be read was written by another version, and is asked for anew.
    let status = known.status.map(serde_json::from_value).transpose();
    let answer = match (status, known.answered_at) {
        (Ok(status), Some(at)) => Some((status, at)),
        (Ok(_), None) | (Err(_), _) => None,
    };
    Said {
        answer,
        problem: known.problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &str, [instance, system, volume]: [&str; 3]) -> Said {
        let status = Status {
            state: state.into(),
            instance_check: instance.into(),
            system_check: system.into(),
            volume_check: volume.into(),
            events: vec![],
        };
        Said::answer(Some(status), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_running_instance_on_bad_hardware_is_no_witness_that_it_is_well() {
        let ok = ["ok", "ok", "ok"];
        let up = |said: Said| matches!(said.witness("i-1"), Witness::Up { .. });
        let down = |said: Said| matches!(said.witness("i-1"), Witness::Down { .. });
        assert!(up(said("running", ok)));
        assert!(up(said("running", ["initializing", "ok", "ok"])));
        assert!(up(said("running", ["ok", "ok", "impaired"])));
        assert!(down(said("running", ["impaired", "ok", "ok"])));
        assert!(down(said("running", ["ok", "impaired", "ok"])));
        assert!(down(said("stopped", ok)));
        let seen = said("running", ["ok", "impaired", "ok"]).witness("i-1");
        let detail = "instance i-1 is running; impaired: system".to_owned();
        assert_eq!(seen, Witness::Down { detail });
    }

    #[test]
    fn what_is_not_known_is_silence() {
        let unknown = Said::answer(None, DateTime::UNIX_EPOCH);
        assert!(matches!(unknown.witness("i-1"), Witness::Silent { .. }));
        assert_eq!(unknown.shown().state.as_deref(), Some("not-found"));
        let mut old = said("running", ["ok", "ok", "ok"]);
        old.problem = Some("throttled".into());
        assert!(matches!(old.witness("i-1"), Witness::Silent { .. }));
        let shown = old.shown();
        assert_eq!(shown.state.as_deref(), Some("running"));
        assert_eq!(shown.problem.as_deref(), Some("throttled"));
        assert_eq!(shown.asked_at.as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }
}
