//! `reconcile`: what the clouds have is compared with the record, region by region.
//! What bears this deployment's mark and is nobody's is written down for a person;
//! what is in the record and gone from its cloud is told of.
//!
//! Architecture Invariant: nothing is destroyed here, and nothing is changed in a
//! cloud.

use std::collections::HashSet;
use std::time::Duration;

use drover::model::{Cloud, OperationKind, State, SubjectId};
use drover::store::orphans::{self, Entry, Orphan};
use serde_json::json;

use super::kind::{Context, Finding, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::places;
use crate::cloud::{AnyCloud, Cloud as _, CloudError, InstanceState, Marked, MarkedSort};

/// The clouds are compared with the record.
pub(super) struct Reconcile;

impl Operation for Reconcile {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::Reconcile;
    const STEPS: &'static [Step<Self>] = &[
        step!("compare", "compare the clouds with the record" => compare)
            .within(Duration::from_secs(25)),
    ];
}

/// How long a region may take.
const LIMIT: Duration = Duration::from_secs(20);
/// So many instances are asked for with one call.
const AT_ONCE: usize = 100;
/// So many that the cloud does not list are asked for one by one; the next
/// reconciliation asks for others, when these are settled.
const ONE_BY_ONE: usize = 20;

/// A region that fails does not keep the others from being compared; it is asked
/// again by the next reconciliation.
async fn compare(turn: &mut Turn<'_, Reconcile>) -> Work {
    let turn = &turn.context;
    let clouds = &turn.tools.context.clouds;
    let regions = clouds.regions();
    let looked = regions.iter().map(|(cloud, name)| async move {
        let first = first_of(&clouds.regions(), *cloud) == Some(name.as_str());
        let look = Box::pin(region(turn, *cloud, name, first));
        tokio::time::timeout(LIMIT, look)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
    });
    let (zones, looked) = futures::join!(places::look(clouds), futures::future::join_all(looked));
    let mut done = Outcome::done("");
    done.findings = zones;
    let mut words = Vec::new();
    for ((cloud, name), found) in regions.iter().zip(looked) {
        match found {
            Ok(found) => {
                words.push(format!("{cloud} {name}: {}", in_words(&found)));
                done.findings.extend(found);
            }
            Err(problem) => words.push(format!("{cloud} {name} cannot be compared: {problem}")),
        }
    }
    done.note = match words.is_empty() {
        true => "this deployment has no cloud".into(),
        false => words.join("; "),
    };
    Ok(done)
}

/// Adopted servers, which have no region, are in the one that is named first.
fn first_of(all: &[(Cloud, String)], cloud: Cloud) -> Option<&str> {
    let mut of_cloud = all.iter().filter(|(of, _)| *of == cloud);
    of_cloud.next().map(|(_, name)| name.as_str())
}

fn in_words(found: &[Finding]) -> String {
    let (mut orphans, mut gone) = (0, 0);
    for finding in found {
        match finding {
            Finding::Orphans(.., all) => orphans += all.len(),
            Finding::Vanished(..) => gone += 1,
            Finding::Region(..) | Finding::Leads(..) | Finding::Raised(_) | Finding::Copy => {}
        }
    }
    match (orphans, gone) {
        (0, 0) => "as the record has it".into(),
        (orphans, 0) => format!("{orphans} orphans"),
        (0, gone) => format!("{gone} servers without their instance"),
        (orphans, gone) => format!("{orphans} orphans, {gone} servers without their instance"),
    }
}

async fn region(
    turn: &Context<'_>,
    cloud: Cloud,
    name: &str,
    first: bool,
) -> Result<Vec<Finding>, String> {
    let clouds = &turn.tools.context.clouds;
    let at = clouds.of(cloud, Some(name));
    let at = at.ok_or_else(|| "this worker has no access to it".to_owned())?;
    let words = |e: CloudError| e.to_string();
    // The cloud first: what it has was written down before it was made.
    let marked = at.marked().await.map_err(words)?;
    let asked: Vec<SubjectId> = marked.iter().filter_map(|m| m.subject).collect();
    let record = async {
        let mut db = turn.tools.pool.acquire().await?;
        orphans::servers(&mut db, cloud, &asked).await
    };
    let record = record
        .await
        .map_err(|e: sqlx::Error| format!("the record does not answer: {e}"))?;
    let mut findings = vec![Finding::Orphans(
        cloud,
        name.to_owned(),
        nobodys(&marked, &record),
    )];
    let here = |entry: &&Entry| match &entry.region {
        Some(region) => region == name,
        None => first,
    };
    let unlisted: Vec<(&Entry, &str)> = record
        .iter()
        .filter(here)
        .filter_map(|entry| Some((entry, to_be_there(entry)?)))
        .filter(|(_, id)| !marked.iter().any(|m| m.id == *id))
        .collect();
    for (entry, detail) in gone(&at, &unlisted).await.map_err(words)? {
        findings.push(Finding::Vanished(entry.id, detail));
    }
    Ok(findings)
}

/// Of what bears the mark, what belongs to no server of the record.
fn nobodys(marked: &[Marked], record: &[Entry]) -> Vec<Orphan> {
    let of_live = |id: &str| {
        let live = record.iter().filter(|entry| entry.live);
        live.filter_map(|entry| entry.instance.as_deref())
            .any(|instance| instance == id)
    };
    // Whoever adopts an instance that drover has made and forgotten has its volumes
    // with it.
    let adopted: HashSet<SubjectId> = marked
        .iter()
        .filter(|m| m.sort == MarkedSort::Instance && of_live(&m.id))
        .filter_map(|m| m.subject)
        .collect();
    marked
        .iter()
        .filter(|m| !of_live(&m.id))
        .filter(|m| {
            let with_it = m.sort == MarkedSort::Volume;
            !(with_it && m.subject.is_some_and(|id| adopted.contains(&id)))
        })
        .filter_map(|m| {
            let why = why_nobodys(m, record)?;
            Some(Orphan {
                sort: m.sort.as_str(),
                id: m.id.clone(),
                detail: json!({
                    "how": m.detail,
                    "mark": m.subject.map(|id| id.to_string()),
                    "why": why,
                }),
            })
        })
        .collect()
}

/// Why it is nobody's; `None` if it is somebody's, or may still be.
fn why_nobodys(m: &Marked, record: &[Entry]) -> Option<String> {
    let Some(subject) = m.subject else {
        return Some("its mark cannot be read".into());
    };
    let Some(entry) = record.iter().find(|entry| entry.id == subject) else {
        return Some("the record knows no such server".into());
    };
    let name = &entry.name;
    // What is being made, changed or destroyed, or was a moment ago, is accounted for
    // by that.
    if entry.busy || entry.just_left {
        return None;
    }
    if !entry.live {
        return Some(format!("server {name} has left the herd"));
    }
    match (&entry.instance, m.sort) {
        (Some(own), MarkedSort::Instance) if *own != m.id => {
            Some(format!("server {name} has another instance, {own}"))
        }
        (Some(_) | None, MarkedSort::Instance | MarkedSort::Volume) => None,
    }
}

/// The instance that a server should have, if it should have one now.
fn to_be_there(entry: &Entry) -> Option<&str> {
    let settled = match entry.state {
        State::Available | State::Uncertain | State::Unavailable => true,
        State::Creating | State::Destroying | State::Destroyed => false,
    };
    entry
        .instance
        .as_deref()
        .filter(|_| entry.live && !entry.busy && settled)
}

/// Of the instances that bear no mark of ours, those that are gone, in the cloud's
/// words.
async fn gone<'a>(
    at: &AnyCloud<'_>,
    unlisted: &[(&'a Entry, &'a str)],
) -> Result<Vec<(&'a Entry, String)>, CloudError> {
    let mut suspects = Vec::new();
    for some in unlisted.chunks(AT_ONCE) {
        let ids: Vec<String> = some.iter().map(|(_, id)| (*id).to_owned()).collect();
        let statuses = at.statuses(&ids).await?;
        let there = |id: &str| {
            let status = statuses.iter().find(|(of, _)| of == id);
            status.is_some_and(|(_, status)| status.state != "terminated")
        };
        suspects.extend(some.iter().filter(|(_, id)| !there(id)));
    }
    let mut gone = Vec::new();
    for (entry, id) in suspects.into_iter().take(ONE_BY_ONE) {
        let instance = at.describe(id).await?;
        if instance.state == InstanceState::Terminated {
            gone.push((entry, instance.detail));
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, instance: Option<&str>) -> Entry {
        Entry {
            id: SubjectId::generate(),
            name: name.into(),
            region: Some("local".into()),
            instance: instance.map(str::to_owned),
            state: State::Available,
            live: true,
            just_left: false,
            busy: false,
        }
    }

    fn marked(id: &str, sort: MarkedSort, subject: Option<SubjectId>) -> Marked {
        Marked {
            id: id.into(),
            sort,
            subject,
            detail: "running".into(),
        }
    }

    /// The ids of the orphans among an instance `i-1` and a volume `vol-1` that bear
    /// this server's mark.
    fn found(entry: Entry) -> Vec<String> {
        let subject = Some(entry.id);
        let marked = [
            marked("i-1", MarkedSort::Instance, subject),
            marked("vol-1", MarkedSort::Volume, subject),
        ];
        let found = nobodys(&marked, &[entry]);
        found.into_iter().map(|orphan| orphan.id).collect()
    }

    #[test]
    fn what_has_an_owner_or_may_get_one_is_no_orphan() {
        assert_eq!(found(entry("live", Some("i-1"))), [""; 0]);
        let mut making = entry("making", None);
        making.state = State::Creating;
        assert_eq!(found(making.clone()), [""; 0]);
        making.busy = true;
        assert_eq!(found(making), [""; 0]);
        let mut left = entry("just left", Some("i-1"));
        (left.live, left.just_left) = (false, true);
        assert_eq!(found(left), [""; 0]);
    }

    #[test]
    fn what_was_left_behind_and_what_was_made_twice_is_an_orphan() {
        let mut left = entry("left", Some("i-1"));
        left.live = false;
        assert_eq!(found(left), ["i-1", "vol-1"]);
        assert_eq!(found(entry("twice", Some("i-2"))), ["i-1"]);
        let strange = [
            marked("i-1", MarkedSort::Instance, None),
            marked("vol-1", MarkedSort::Volume, Some(SubjectId::generate())),
        ];
        assert_eq!(nobodys(&strange, &[]).len(), 2);
    }

    #[test]
    fn an_instance_that_was_adopted_anew_has_its_volumes_with_it() {
        let mut old = entry("old", Some("i-1"));
        old.live = false;
        let subject = Some(old.id);
        let marked = [
            marked("i-1", MarkedSort::Instance, subject),
            marked("vol-1", MarkedSort::Volume, subject),
        ];
        let record = [old, entry("new", Some("i-1"))];
        assert_eq!(nobodys(&marked, &record), []);
    }

    #[test]
    fn only_a_settled_server_must_have_its_instance() {
        assert_eq!(to_be_there(&entry("live", Some("i-1"))), Some("i-1"));
        let mut entries = vec![entry("none", None); 4];
        for entry in &mut entries[1..] {
            entry.instance = Some("i-1".into());
        }
        entries[1].state = State::Destroying;
        entries[2].busy = true;
        entries[3].live = false;
        assert!(entries.iter().all(|entry| to_be_there(entry).is_none()));
    }
}
