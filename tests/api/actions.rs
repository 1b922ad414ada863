//! What an operator may do with an incident, in every state it can be in.

use drover::model::{Action, Incident, IncidentId, IncidentKind, IncidentState, Lane};
use drover::store::incidents;
use drover::store::queue::{self, Token};
use drover_tests::{Shows, sql};
use serde_json::{Value, json};

use crate::refusals::refused;
use crate::resolver::{act, is_due, load, open, opened, put_off, turn};
use crate::world::{Answer, Deployment};

/// Where an incident stands when somebody acts on it.
#[derive(Clone, Copy, Debug)]
struct Standing {
    state: IncidentState,
    held: bool,
    acknowledged: bool,
    paged: bool,
}

impl Standing {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for state in IncidentState::ALL {
            for n in 0..8 {
                all.push(Standing {
                    state: *state,
                    held: n & 1 != 0,
                    acknowledged: n & 2 != 0,
                    paged: n & 4 != 0,
                });
            }
        }
        all
    }

    /// Written down apart from the code: what an operator may do.
    fn possible(self) -> Vec<&'static str> {
        let open = self.state != IncidentState::Resolved;
        let human = self.state == IncidentState::NeedsHuman;
        let resolving = self.state == IncidentState::Resolving;
        [
            ("acknowledge", open && !self.acknowledged),
            ("retry", human),
            ("hold", open && !self.held),
            ("release", open && self.held),
            ("resolve", open && (!resolving || self.held)),
        ]
        .into_iter()
        .filter_map(|(name, possible)| possible.then_some(name))
        .collect()
    }

    async fn put(self, drover: &Deployment, id: IncidentId) {
        let mut db = drover.pool.begin().await.unwrap();
        let sql = "update incidents
             set state = $2, remedy = 'restart_immediate', attempt = 2, attempts = 3, reopened = 2,
                 deadline = now(), wait_until = now(), acted_at = '2026-01-31T12:00:00Z',
                 memo = '{\"undo\": true}', resting = 'something',
                 held_at = case when $3 then now() end,
                 acknowledged_at = case when $4 then now() end,
                 acknowledged_by = case when $4 then 'ann' end,
                 paged_at = case when $5 then now() end,
                 ticketed_at = case when $5 then now() end,
                 resolved_at = case when $2 = 'resolved' then now() end,
                 resolved_by = case when $2 = 'resolved' then 'observation' end
             where id = $1";
        let binds = (id, self.state, self.held, self.acknowledged, self.paged);
        sql::run(&mut *db, sql, binds).await;
        if self.state == IncidentState::Resolved {
            let gone = queue::remove_from_resolve(&mut db, Token::Incident(id)).await;
            gone.unwrap();
        } else {
            let there = queue::insert_incident_token(&mut db, id, Lane::Repair).await;
            there.unwrap();
        }
        db.commit().await.unwrap();
        put_off(drover, id).await;
    }
}

/// The messages written for an incident: channel and action of each.
async fn messages(drover: &Deployment, id: IncidentId) -> Vec<(String, String)> {
    let sql = "select o.channel, o.action from outbox o join apalis.jobs j on j.id = o.id
         where incident_id = $1 order by o.channel, o.action";
    sql::rows(&drover.pool, sql, [id]).await
}

async fn forget_messages(drover: &Deployment) {
    sql::run(&drover.pool, "delete from outbox", ()).await;
}

#[tokio::test]
async fn every_action_in_every_state_is_done_or_refused() {
    let (drover, _, db) = Deployment::with_app().await;
    let id = opened(&drover, &db, IncidentKind::ResourceDown).await;
    for standing in Standing::all() {
        for action in Action::ALL {
            let what = format!("{action} {standing:?}");
            standing.put(&drover, id).await;
            forget_messages(&drover).await;
            let possible = standing.possible();
            let path = format!("/v1/incidents/{}", id.public());
            let seen = drover.get(&path).await.json();
            assert_eq!(seen["actions"], json!(possible), "{what}");
            let before = (load(&drover, id).await, drover.record().await);
            let body = json!({"action": action, "reason": "because", "by": "bob"});
            let answer = act(&drover, id, body).await;
            if possible.contains(&action.as_str()) {
                assert_eq!(answer.status, 200, "{what}: {answer:?}");
                took_effect(&drover, &what, *action, standing, &before.0, &answer.json()).await;
            } else {
                refused(&what, &answer, 409, "not_now", Some("action"));
                let told = answer.json()["error"]["message"].clone();
                let told = told.as_str().unwrap();
                let says = match possible[..] {
                    [] => "nothing is possible any more".into(),
                    _ => format!("possible now: {}", possible.join(", ")),
                };
                assert!(told.ends_with(&says), "{what}: {told}");
                assert_eq!(load(&drover, id).await, before.0, "{what}");
                assert_eq!(drover.record().await, before.1, "{what}");
            }
        }
    }
}

async fn took_effect(
    drover: &Deployment,
    what: &str,
    action: Action,
    standing: Standing,
    before: &Incident,
    shown: &Value,
) {
    let after = load(drover, before.id).await;
    let last = shown["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], "bob", "{what}");
    assert!(last["text"].as_str().unwrap().contains("because"), "{what}");
    let paged = |sent: &[(&str, &str)]| -> Vec<(String, String)> {
        let sent = sent.iter().filter(|_| standing.paged);
        sent.map(|(c, a)| ((*c).into(), (*a).into())).collect()
    };
    let untouched = Incident {
        acknowledged_at: before.acknowledged_at,
        acknowledged_by: before.acknowledged_by.clone(),
        held_at: before.held_at,
        ..after.clone()
    };
    let (event, sent, due) = match action {
        Action::Acknowledge => {
            assert_eq!(after.acknowledged_by.as_deref(), Some("bob"), "{what}");
            assert_eq!(shown["acknowledged_by"], "bob", "{what}");
            assert_eq!(&untouched, before, "{what}");
            let sent = paged(&[("page", "acknowledge")]);
            ("acknowledged", sent, Some(true))
        }
        Action::Hold | Action::Release => {
            assert_eq!(after.held_at.is_some(), action == Action::Hold, "{what}");
            assert_eq!(&untouched, before, "{what}");
            let held = action == Action::Hold;
            let event = if held { "held" } else { "released" };
            (event, vec![], Some(true))
        }
        Action::Retry => {
            let anew = (after.remedy.as_deref(), after.attempt, after.attempts);
            assert_eq!(after.state, IncidentState::Triggered, "{what}");
            assert_eq!((anew, after.reopened), ((None, 0, 0), 0), "{what}");
            assert_eq!((after.deadline, after.wait_until), (None, None), "{what}");
            assert_eq!(after.acted_at, before.acted_at, "{what}");
            assert_eq!(after.memo, json!({"undo": true}), "what is owed stays owed");
            // The one on call is called anew if it fails again; the customer's
            // ticket stays open meanwhile.
            assert_eq!(after.paged_at, None, "{what}");
            assert_eq!(after.ticketed_at, before.ticketed_at, "{what}");
            assert_eq!(after.held_at, before.held_at, "{what}");
            assert_eq!(after.acknowledged_at, None, "{what}");
            assert!(after.revision > before.revision, "{what}");
            ("retried", paged(&[("page", "resolve")]), Some(true))
        }
        Action::Resolve => {
            assert_eq!(after.state, IncidentState::Resolved, "{what}");
            assert_eq!(after.resolved_by.as_deref(), Some("operator"), "{what}");
            let sent = paged(&[("page", "resolve"), ("ticket", "resolve")]);
            ("resolved", sent, None)
        }
    };
    assert_eq!(last["kind"], event, "{what}");
    assert_eq!(messages(drover, before.id).await, sent, "{what}");
    assert_eq!(is_due(drover, before.id).await, due, "{what}");
}

#[tokio::test]
async fn a_resolver_s_write_is_disturbed_by_a_retry_and_by_nothing_less() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let id = opened(&drover, &server, IncidentKind::ServerDown).await;
    let stale = load(&drover, id).await;
    for action in ["hold", "acknowledge"] {
        act(&drover, id, json!({"action": action})).await.is(200);
    }
    let mut db = drover.pool.acquire().await.unwrap();
    assert!(incidents::save(&mut db, &stale).await.unwrap());
    let after = load(&drover, id).await;
    assert!(after.held_at.is_some() && after.acknowledged_at.is_some());
    assert!(turn(&drover, id, |i| i.state = IncidentState::NeedsHuman).await);
    let stale = load(&drover, id).await;
    act(&drover, id, json!({"action": "retry"})).await.is(200);
    assert!(!incidents::save(&mut db, &stale).await.unwrap());
}

#[tokio::test]
async fn ten_who_ask_at_once_are_told_one_story() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let kinds = IncidentKind::ALL
        .iter()
        .filter(|k| **k != IncidentKind::Blind);
    for kind in kinds.take(5) {
        let id = open(&drover, Some(&server), *kind).await.unwrap();
        let one = |action| act(&drover, id, json!({"action": action, "reason": "at once"}));
        let ten = |action| futures::future::join_all((0..10).map(move |_| one(action)));
        let (hold, resolve) = tokio::join!(ten("hold"), ten("resolve"));
        let done = |answers: &[Answer]| {
            assert!(
                answers.iter().all(|a| [200, 409].contains(&a.status)),
                "{answers:?}"
            );
            answers.iter().filter(|a| a.status == 200).count()
        };
        // A hold may come too late, but never twice; one of the ten ends it.
        assert!(done(&hold) <= 1);
        assert_eq!(done(&resolve), 1);
        let path = format!("/v1/incidents/{}", id.public());
        let seen = drover.get(&path).await.json();
        seen.shows(json!({"state": "resolved", "actions": []}));
        let events = seen["events"].as_array().unwrap().iter();
        let kinds: Vec<&str> = events.map(|e| e["kind"].as_str().unwrap()).collect();
        let expected: &[&str] = match done(&hold) {
            0 => &["opened", "resolved"],
            _ => &["opened", "held", "resolved"],
        };
        assert_eq!(kinds, expected);
        assert_eq!(is_due(&drover, id).await, None);
    }
}
