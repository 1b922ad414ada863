//! What a reconciliation has found, written into the record with its step.

use drover::model::{IncidentKind, Opening, State, SubjectId};
use drover::store::subjects::{self, Known};
use drover::store::{incidents, old_record, operations, orphans, places, queue};
use sqlx::PgConnection;

use crate::resolve::operations::Finding;

/// Writes it. Gives what is new, for the log.
pub(super) async fn tell(
    db: &mut PgConnection,
    findings: &[Finding],
    worker: &str,
) -> sqlx::Result<Vec<String>> {
    let mut news = Vec::new();
    for finding in findings {
        match finding {
            Finding::Region(cloud, name, zones) => {
                let zones = zones.as_deref().map_err(String::as_str);
                places::publish(db, *cloud, name, zones).await?;
            }
            Finding::Orphans(cloud, region, found) => {
                for id in orphans::replace(db, *cloud, region, found).await? {
                    let found = found.iter().find(|orphan| orphan.id == id);
                    let why = found.and_then(|orphan| orphan.detail["why"].as_str());
                    let why = why.unwrap_or_default();
                    news.push(format!(
                        "{cloud} {region} has {id}, which is nobody's: {why}"
                    ));
                }
            }
            Finding::Vanished(server, detail) => {
                news.extend(vanished(db, *server, detail, worker).await?);
            }
            Finding::Leads(leader, fact) => {
                operations::apply(db, *leader, fact, worker).await?;
            }
            Finding::Raised(by) => {
                old_record::raise(db, *by).await?;
                news.push("the record was brought up to what the servers know".into());
            }
            Finding::Copy => {
                let id = old_record::become_another(db).await?;
                news.push(format!("this is deployment {id} from now on, in mode hold"));
            }
        }
    }
    Ok(news)
}

/// A server whose instance is gone is down. One that was seen in service a moment ago
/// is looked at first: an incident would end by that word of an observation as soon as
/// it was opened.
async fn vanished(
    db: &mut PgConnection,
    server: SubjectId,
    detail: &str,
    worker: &str,
) -> sqlx::Result<Option<String>> {
    let found = subjects::load(db, &[server]).await?.pop();
    let Some(row) = found else { return Ok(None) };
    let Known::Server(known) = row.without_secrets()? else {
        return Ok(None);
    };
    match known.subject.state {
        State::Available => {
            queue::bring_forward(db, &[server]).await?;
            return Ok(None);
        }
        State::Uncertain | State::Unavailable => {}
        State::Creating | State::Destroying | State::Destroyed => return Ok(None),
    }
    let opening = Opening {
        kind: IncidentKind::ServerDown,
        reason: format!("its cloud says: {detail}"),
    };
    let opened = incidents::open(db, Some(server), &opening, worker).await?;
    let name = known.subject.name;
    Ok(opened.map(|_| format!("{name}: {detail}")))
}
