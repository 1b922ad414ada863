//! What comes of it that a resource follows another.

use std::time::Duration;

use drover::model::{Kind, Origin, PublicId, Resource, SubjectId};
use drover::store::operations::failover;
use futures::future::join_all;
use tokio::time::timeout;

use super::follow::followers;
use super::{Context, Outcome, own_role};

const SOON: Duration = Duration::from_millis(500);
/// How long those that follow by the record may take to say that they do.
const ANSWER: Duration = Duration::from_secs(2);

/// What a resource is by the record, as scripts that start its cluster are told. One that was
/// adopted may follow somebody whom drover does not know: nothing is said of it.
pub(super) fn role(resource: &Resource) -> &'static str {
    match (resource.leader, resource.subject.origin) {
        (Some(_), _) => "follower",
        (None, Origin::Created) => "leader",
        (None, Origin::Adopted) => "",
    }
}

/// Nobody is made to follow a leader, and counted by it, of whom another operation has told
/// somebody to take its lead: that one goes by what its followers have confirmed.
///
/// # Errors
/// If one has, or the record cannot be read.
pub(super) async fn keeps_its_lead(turn: &Context<'_>, leader: SubjectId) -> Result<(), Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    match failover::told_to_lead(&mut db, leader, turn.operation.id).await? {
        Some(other) => Err(Outcome::again(
            SOON,
            format!(
                "{} has told another to take its leader's lead",
                other.public()
            ),
        )),
        None => Ok(()),
    }
}

/// Who starts as a leader is one by more than the record, which may be old: nobody was told to
/// take its lead, and none of its followers takes writes. One that does not answer says nothing.
///
/// # Errors
/// If one does, or the record cannot be read.
pub(super) async fn nobody_else_leads(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<(), Outcome> {
    if resource.leader.is_some() {
        return Ok(());
    }
    none_takes_writes(turn, resource).await.map(drop)
}

/// Who was fenced leads on only where all of its followers say that they follow: somebody was to
/// take its lead.
///
/// # Errors
/// If one does not say it, or the record cannot be read.
pub(super) async fn all_others_follow(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<(), Outcome> {
    let unknown = none_takes_writes(turn, resource).await?;
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Outcome::failed(format!(
            "{} was fenced, and {} may have taken its lead: no answer from there",
            resource.subject.name,
            unknown.join(", ")
        ))),
    }
}

/// Which of its followers do not say whether they take writes.
async fn none_takes_writes(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<Vec<String>, Outcome> {
    let told = {
        let mut db = turn.tools.pool.acquire().await?;
        failover::told_to_lead(&mut db, resource.subject.id, turn.operation.id).await?
    };
    if let Some(other) = told {
        return Err(Outcome::hopeless(format!(
            "{} has told another to lead: {} is not started beside it",
            other.public(),
            resource.subject.name
        )));
    }
    let followers = followers(turn, resource.subject.id).await?;
    let asked = followers.iter().map(async |(follower, server)| {
        let session = own_role::log_in(turn, follower, server).await?;
        own_role::ask(session, "select pg_is_in_recovery()").await
    });
    let asked = asked.map(|asked| timeout(ANSWER, asked));
    let mut unknown = Vec::new();
    for ((follower, _), said) in followers.iter().zip(join_all(asked).await) {
        let name = &follower.subject.name;
        match said {
            Ok(Ok(said)) if said == "f" => {
                return Err(Outcome::hopeless(format!(
                    "{name} takes writes, and follows by the record: {} is not started beside it",
                    resource.subject.name
                )));
            }
            Ok(Ok(said)) if said == "t" => {}
            Ok(_) | Err(_) => unknown.push(name.clone()),
        }
    }
    Ok(unknown)
}

/// `None`: it leads. It is a follower by the record, or by what its cluster says.
pub(super) fn follows(leader: Option<SubjectId>, in_recovery: bool) -> Option<String> {
    let leader = match leader {
        Some(leader) => PublicId::new(Kind::Resource, leader).to_string(),
        None if in_recovery => "another".into(),
        None => return None,
    };
    Some(format!("it follows {leader}: its leader has to be mended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_told_by_the_record_or_by_its_cluster() {
        assert_eq!(follows(None, false), None);
        let says = follows(None, true).unwrap();
        assert_eq!(says, "it follows another: its leader has to be mended");
        let leader = SubjectId::generate();
        for in_recovery in [false, true] {
            let says = follows(Some(leader), in_recovery).unwrap();
            assert_eq!(
                says,
                format!("it follows db_{leader}: its leader has to be mended")
            );
        }
    }
}
