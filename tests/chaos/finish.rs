//! What has to hold once nothing is broken any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use drover_tests::{AlertState, until, when};
use serde_json::{Value, json};

use crate::customers::Customer;
use crate::laws::{self, Broken, Loss, Said};
use crate::plan::Which;
use crate::record::Change;
use crate::world::{World, asked};

/// Within this time all is well again.
pub const WELL_WITHIN: Duration = Duration::from_secs(600);
/// How long what is told on may take: a message that is on its way, a row that is read.
const A_MOMENT: Duration = Duration::from_secs(60);

/// What stands in the way of all being well; noughts, if it is.
const STANDS: &str = "select jsonb_build_object(
     'not available', (select coalesce(jsonb_agg(name || ' ' || state), '[]') from subjects
         where state <> 'available' and forgotten_at is null),
     'open operations', (select coalesce(jsonb_agg(o.kind || ' ' || o.step_name || ' of '
             || coalesce(s.name, '') || ': ' || coalesce(o.note, '')), '[]')
         from operations o left join subjects s on s.id = o.subject_id
         where o.state = 'open' and o.kind <> 'reconcile'),
     'incidents', (select coalesce(jsonb_agg(i.kind || ' of ' || coalesce(s.name, 'the herd')
             || ' ' || i.state || ': ' || i.reason), '[]')
         from incidents i left join subjects s on s.id = i.subject_id
         where i.state <> 'resolved'),
     'do not stream', (select coalesce(jsonb_agg(s.name), '[]')
         from resources r join subjects s using (id)
         where r.leader_id is not null and s.forgotten_at is null
           and (select attributes #>> '{receiver,status}' from observations o
                where o.subject_id = r.id order by created_at desc limit 1)
               is distinct from 'streaming'))";

/// Waits until all is well; tells how long that took.
///
/// # Errors
/// The law that is broken, if it does not come about in time.
pub async fn all_well(world: &World) -> Result<f64, Broken> {
    let well = json!({
        "not available": [], "open operations": [], "incidents": [], "do not stream": [],
    });
    let waited = until("all is well", WELL_WITHIN, || async {
        let stands = asked(world, STANDS).await?;
        when(stands == well, stands)
    });
    match waited.await {
        Ok((_, seconds)) => Ok(seconds),
        Err(e) => Err(Broken::new(
            "all is well ten minutes after the last fault",
            e.to_string(),
        )),
    }
}

/// What came of it all.
pub struct Outcome {
    pub summary: Value,
    pub lost: usize,
}

/// The laws over the whole of it.
///
/// # Errors
/// The first that is broken.
pub async fn judge(world: &World, customers: &[Arc<Customer>]) -> Result<Outcome, Broken> {
    let unreadable = |e: anyhow::Error| Broken::new("what was done can be read", format!("{e:#}"));
    world.look_round().await.map_err(unreadable)?;
    world.remember().await.map_err(unreadable)?;
    let changes = world.history();
    let mut parts = serde_json::Map::new();
    let (mut said, mut uncounted, mut accepted) = (0, 0, 0);
    for customer in customers {
        let name = customer.which.name();
        writes_again(world, customer).await?;
        let writes = customer.writes(world);
        accepted += writes.len();
        customer.law_abiding(&writes)?;
        let own: Vec<&Change> = changes
            .iter()
            .filter(|change| change.name == name)
            .collect();
        laws::as_the_record_has_it(&writes, &reigns(world, customer.which, &own))?;
        let there = customer.there(&writes).await.map_err(unreadable)?;
        match customer.which {
            Which::Accounts => laws::nothing_is_lost(&writes, &there)?,
            Which::Orders | Which::Notes => {
                let losses: Vec<Loss> = own.iter().filter_map(|change| loss(change)).collect();
                let (counted, not) = laws::lost_as_said(&writes, &there, &losses)?;
                said += counted;
                uncounted += not;
            }
        }
        let pause = customer.longest_pause(world).as_secs_f64();
        parts.insert(name.to_owned(), json!((pause * 10.0).round() / 10.0));
    }
    nothing_orphaned(world).await?;
    let pages = pages(world).await?;
    let of = |kind: &str| changes.iter().filter(|change| change.kind == kind).count();
    let summary = json!({
        "failovers": of("failover"),
        "switchovers": of("switchover"),
        "writes_accepted": accepted,
        "lost_as_said": said,
        "lost_uncounted": uncounted,
        "longest_pause_s": parts,
        "pages": pages,
    });
    Ok(Outcome {
        summary,
        lost: said + uncounted,
    })
}

/// One more write is acknowledged.
async fn writes_again(world: &World, customer: &Customer) -> Result<(), Broken> {
    let now = world.now();
    let written = until("a write", A_MOMENT, || async {
        let writes = customer.writes(world);
        when(
            writes.iter().any(|write| write.sent > now),
            "none is acknowledged",
        )
    });
    let law = "every resource takes writes in the end";
    let named = |e| Broken::new(law, format!("{}: {e:#}", customer.which));
    written.await.map(drop).map_err(named)
}

/// The addresses of all that led, the first one first.
fn reigns(world: &World, which: Which, changes: &[&Change]) -> Vec<String> {
    let first = match changes.first() {
        Some(change) => Some(change.old_address.clone()),
        None => world
            .nodes(which)
            .into_iter()
            .next()
            .map(|leader| leader.address),
    };
    let then = changes.iter().map(|change| change.new_address.clone());
    first.into_iter().chain(then).collect()
}

/// What a failover says of what it has lost.
fn loss(change: &Change) -> Option<Loss> {
    // What was done by a record that is forgotten is adopted.
    if change.kind != "failover" && change.kind != "adopted" {
        return None;
    }
    // Measured at the old leader's own WAL.
    let measured = match change.fenced_by.as_deref() {
        Some("ssh") => change.behind_bytes,
        Some(_) | None => None,
    };
    let said = match (change.rewound, change.lost_bytes.max(measured)) {
        (_, Some(bytes)) if bytes > 0 => Said::Bytes(bytes.unsigned_abs()),
        (true, _) | (false, Some(_)) => Said::Nothing,
        (false, None) => Said::Uncounted,
    };
    Some(Loss {
        from: change.old_address.clone(),
        timeline: change
            .timeline
            .and_then(|number| u32::try_from(number).ok()),
        said,
    })
}

/// Machines and volumes are those of live servers, all of them and no others; where the record was
/// restored, what was made by one that is forgotten is left alone.
async fn nothing_orphaned(world: &World) -> Result<(), Broken> {
    let forgotten = world.restores.load(Ordering::SeqCst) > 0;
    let law = "machines and volumes are those of live servers";
    let same = until("the same machines", A_MOMENT, || async {
        let sql = "select jsonb_agg(v.instance_id order by v.instance_id)
             from servers v join subjects s using (id) where s.forgotten_at is null";
        let known: Vec<String> = serde_json::from_value(asked(world, sql).await?)?;
        let machines = world.machines().list(None).await?;
        let mut there: Vec<&str> = machines.iter().map(|m| m.name.as_str()).collect();
        there.retain(|name| *name != world.customers.name);
        there.sort_unstable();
        let volumes = world.machines().volumes(None).await?;
        let mut astray = volumes.iter().filter(|volume| {
            volume
                .machine
                .as_deref()
                .is_none_or(|at| !there.contains(&at))
        });
        let seen = json!({
            "servers": known, "machines": there, "volume astray": astray.next().map(|v| &v.id),
        });
        let at_home = seen["volume astray"].is_null();
        if forgotten {
            there.retain(|name| known.iter().any(|one| one == name));
        }
        when(known == there && at_home, seen)
    });
    same.await
        .map(drop)
        .map_err(|e| Broken::new(law, format!("{e:#}")))
}

/// Each page belongs to an incident of the record that asked for one, each that did was paged,
/// and what is over is over there too. Gives how many there were.
async fn pages(world: &World) -> Result<usize, Broken> {
    let law = "who is on call knows what the record knows";
    let agree = until("the pages of the record", A_MOMENT, || async {
        let sql = "select coalesce(jsonb_object_agg('drover/inc_' || id,
                 case when state = 'resolved' then 'over' else 'open' end), '{}')
             from incidents i
             where exists (select from outbox o where o.incident_id = i.id and channel = 'page')";
        let wanted = asked(world, sql).await?;
        let mut alerts = world.pager.alerts();
        alerts.retain(|key, _| !world.has_forgotten(key));
        let there: serde_json::Map<String, Value> = alerts
            .iter()
            .map(|(key, alert)| {
                let stands = match alert.state {
                    AlertState::Resolved => "over",
                    AlertState::Open | AlertState::Acknowledged => "open",
                };
                (key.clone(), json!(stands))
            })
            .collect();
        let there = Value::Object(there);
        if there == wanted {
            return Ok(Ok(alerts.len()));
        }
        Ok(Err(format!("wanted {wanted}, there are {there}")))
    });
    agree
        .await
        .map(|(pages, _)| pages)
        .map_err(|e| Broken::new(law, format!("{e:#}")))
}

/// Each incident that needs a human has had one called, or the customer told.
///
/// # Errors
/// The law that is broken.
pub async fn called(world: &World) -> Result<(), Broken> {
    let sql = "select coalesce(jsonb_agg(kind || ' inc_' || id), '[]') from incidents
         where state = 'needs_human' and paged_at is null and ticketed_at is null";
    match asked(world, sql).await {
        Ok(Value::Array(none)) if none.is_empty() => Ok(()),
        Ok(some) => {
            let law = "whoever is needed is called";
            Err(Broken::new(law, some.to_string()))
        }
        Err(_) => Ok(()),
    }
}
