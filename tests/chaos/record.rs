//! The laws over the record, looked at once a second: tokens, leases, epochs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use anyhow::Result;
use serde_json::Value;

use crate::laws::{Broken, Law};
use crate::world::{World, asked};

/// Everything in one snapshot.
const NOW: &str = "
    with live as (
        select id from subjects where forgotten_at is null and state <> 'destroyed'),
    wanted as (
        select id, 'ring' as queue from live
        union all select id, 'resolve' from incidents where state <> 'resolved'
        union all select id, 'resolve' from operations where state = 'open'
        union all select id, 'notify' from outbox where state = 'pending'),
    token as (
        select id, case when job_type in ('feel', 'silent', 'think') then 'ring'
                        else job_type end as queue
        from apalis.jobs
        where job_type <> 'notify' or status in ('Pending', 'Queued', 'Running'))
    select jsonb_build_object(
        'astray', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'id', id, 'owner in', wanted.queue, 'token in', token.queue)), '[]')
            from wanted full join token using (id)
            where wanted.queue is distinct from token.queue),
        'leases', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'server', s.id, 'for', s.lock_owner, 'resource', r.id,
                'and for', r.lock_owner)), '[]')
            from resources x
                join subjects r on r.id = x.id
                join subjects s on s.id = x.server_id
            where s.lock_worker is not null and s.lock_until > clock_timestamp()
              and r.lock_worker is not null and r.lock_until > clock_timestamp()
              and s.lock_owner <> r.lock_owner),
        'fences', (
            select coalesce(jsonb_object_agg(id, lock_fence), '{}') from subjects),
        'epochs', (
            select coalesce(jsonb_object_agg(s.name, r.epoch), '{}')
            from resources r join subjects s using (id)
            where s.forgotten_at is null and r.leader_id is null))";

/// What was seen last, for what only grows.
#[derive(Default)]
pub struct Watch {
    highest: BTreeMap<String, i64>,
    /// How often the record had been restored by then.
    restores: usize,
    /// How often it was looked.
    pub looks: u64,
}

impl Watch {
    /// Looks once. Where the control database does not answer nothing is told.
    ///
    /// # Errors
    /// The law that is broken.
    pub async fn look(&mut self, world: &World) -> Law {
        let before = world.restores.load(Ordering::SeqCst);
        let Ok(now) = asked(world, NOW).await else {
            return Ok(());
        };
        let restores = world.restores.load(Ordering::SeqCst);
        // What an older one says is compared with nothing from before.
        if restores % 2 == 1 || restores != before {
            return Ok(());
        }
        if restores != self.restores {
            (self.restores, self.highest) = (restores, BTreeMap::new());
        }
        self.judge(&now)
    }

    fn judge(&mut self, now: &Value) -> Law {
        self.looks += 1;
        none(
            "one token for each live subject, incident, operation and message",
            &now["astray"],
        )?;
        none(
            "a server and its databases are not changed at once",
            &now["leases"],
        )?;
        for (law, what) in [
            ("a fence only grows", "fences"),
            ("an epoch only grows", "epochs"),
        ] {
            for (id, value) in now[what].as_object().into_iter().flatten() {
                let value = value.as_i64().unwrap_or_default();
                let highest = self.highest.entry(format!("{what} {id}")).or_insert(value);
                if value < *highest {
                    let evidence = format!("{id}: {value} behind {highest}");
                    return Err(Broken::new(law, evidence));
                }
                *highest = value;
            }
        }
        Ok(())
    }
}

fn none(law: &'static str, found: &Value) -> Law {
    match found.as_array() {
        Some(all) if !all.is_empty() => Err(Broken::new(law, found.to_string())),
        Some(_) | None => Ok(()),
    }
}

/// A failover or a switchover, as the record has it for ever.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Change {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub old_address: String,
    pub new_address: String,
    /// The number of the timeline that the new leader began.
    pub timeline: Option<i64>,
    pub fenced_by: Option<String>,
    pub behind_bytes: Option<i64>,
    /// What was counted when the old leader was rewound.
    pub lost_bytes: Option<i64>,
    /// Whether the old leader was rewound, and not copied since.
    pub rewound: bool,
}

/// All changes of leader, in their order.
///
/// # Errors
/// If the control database does not answer.
pub async fn changes(world: &World) -> Result<Vec<Change>> {
    let sql = "
        with change as (
            select c.*, (select min(next.created_at) from leader_changes next
                         where next.new_leader_id = c.old_leader_id and next.seq > c.seq) as until
            from leader_changes c where c.kind <> 'unfollow')
        select c.id, c.name, c.kind, c.old_address, c.new_address,
            (o.memo ->> 'timeline')::bigint as timeline,
            o.memo ->> 'fenced_by' as fenced_by,
            (o.memo ->> 'behind_bytes')::bigint as behind_bytes,
            back.lost_bytes, coalesce(back.rewound and not back.copied, false) as rewound
        from change c join operations o on o.id = c.operation_id
            left join lateral (
                select max((b.memo ->> 'lost_bytes')::bigint) as lost_bytes,
                       bool_or((b.memo ->> 'rewound')::bool) as rewound,
                       bool_or((b.memo ->> 'copied')::bool) as copied
                from operations b
                where b.kind = 'rebuild' and b.subject_id = c.old_leader_id
                  and b.opened_at >= o.opened_at
                  and (c.until is null or b.opened_at < c.until)) back on true
        order by c.seq";
    let asked = sqlx::query_as(sql).fetch_all(&world.drover.pool);
    Ok(tokio::time::timeout(crate::world::QUICK, asked).await??)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_law_over_the_record_can_be_broken() {
        let well = json!({"astray": [], "leases": [], "fences": {"a": 2}, "epochs": {"o": 2}});
        for (what, value) in [
            ("astray", json!([{"id": "a"}])),
            ("leases", json!([{"server": "a"}])),
            ("fences", json!({"a": 1})),
            ("epochs", json!({"o": 1})),
        ] {
            let mut watch = Watch::default();
            watch.judge(&well).unwrap();
            watch.judge(&well).unwrap();
            let mut now = well.clone();
            now[what] = value;
            watch.judge(&now).unwrap_err();
        }
    }
}
