//! The brake: when too much of the herd fails at once, it is more likely the
//! observer than the herd, or something that restarts would only make worse.
//!
//! What has been bad since before the last `blind` incident was closed does not
//! count again: a human has seen it, or it is what came back too late.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::statement::rows;
use crate::model::OperationKind;

/// Fewer servers than this are never too many.
const FEWEST: u32 = 2;
/// More than this per cent of a zone or of the herd are too many.
const PER_CENT: u32 = 30;
/// Turning bad within this long is at once.
const AT_ONCE: &str = "1 minute";

/// Servers of a zone or of the herd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All that are in the herd for good: neither coming nor going.
    pub servers: u32,
    /// Those that were well, turned bad within the last minute, and are so.
    pub turned: u32,
    /// Those that were well and are not any more, however long since.
    pub away: u32,
}

/// How the servers of the herd stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub herd: Count,
    /// Those of each zone; one without a zone counts for the herd only.
    pub zones: BTreeMap<String, Count>,
}

/// Counts the servers, with one query.
///
/// A server turned bad when it left `available`; until it has been `uncertain` or
/// `unavailable` for a minute, it has done so just now. One that is `available` with
/// a stuck volume turned bad when that incident was opened, or opened again.
///
/// A server that drover itself has stopped turned bad when the incident was opened
/// for which it was: its stop is nothing new, neither for this minute nor after a
/// human has closed `blind`. One that was stopped because somebody asked for it has not
/// turned bad at all, until it was seen well again.
pub async fn count(db: &mut PgConnection) -> sqlx::Result<Counts> {
    let asked_for = OperationKind::names_where(|kind| kind.disturbs);
    let sql = sqlx::AssertSqlSafe(format!(
        "with closed as (
                 select coalesce(max(resolved_at), '-infinity') as at from incidents
                 where subject_id is null and kind = 'blind' and state = 'resolved'),
             standing as (
                 select s.id, v.zone, s.state, s.state_since, t.at as left_at
                 from subjects s
                 join servers v using (id)
                 left join lateral (
                     select max(created_at) as at from transitions t
                     where t.subject_id = s.id and t.from_state = 'available'
                       and s.state in ('uncertain', 'unavailable')
                     having not exists (
                         select from operations o
                         where o.subject_id = s.id and o.state = 'open' and o.kind = any($1)
                           -- a remedy is not asked for, unless it was planned
                           and (o.incident_id is null or o.not_before is not null)
                           -- its first turn has been
                           and o.deadline is not null
                           and max(t.created_at) >= greatest(o.opened_at, o.not_before))) t on true
                 where s.kind = 'server' and s.forgotten_at is null
                   and s.state in ('available', 'uncertain', 'unavailable')),
             fallen as (
                 select s.zone,
                        -- null: it is well, or never was
                        coalesce(least(s.left_at, i.stopped), i.stuck) as at,
                        coalesce(
                            i.stopped,
                            case when s.left_at is not null
                                then greatest(s.left_at, s.state_since) end,
                            i.stuck) as lately
                 from standing s
                 left join lateral (
                     select min(greatest(i.opened_at, e.reopened_at)) filter (
                                where s.state = 'available' and i.kind = 'volume_stuck') as stuck,
                            min(greatest(i.opened_at, e.reopened_at)) filter (
                                where s.left_at is not null
                                  and (exists (select from operations o
                                               where o.incident_id = i.id and o.at_work)
                                    or i.attempts > 0
                                       and (i.state in ('resolving', 'waiting')
                                         -- before a human was called
                                         or s.left_at < i.state_since))) as stopped
                     from incidents i
                     left join lateral (
                         select max(created_at) as reopened_at from incident_events e
                         where e.incident_id = i.id and e.kind = 'reopened') e on true
                     where i.subject_id = s.id and i.state <> 'resolved'
                       and i.kind in ('volume_stuck', 'server_down')) i on true)
             select zone, count(*),
                    count(*) filter (
                        where f.at > closed.at and f.lately > now() - interval '{AT_ONCE}'),
                    count(*) filter (where f.at > closed.at)
             from fallen f cross join closed
             group by zone"
    ));
    let rows: Vec<(Option<String>, i64, i64, i64)> = rows(db, sql, [asked_for]).await?;
    let mut counts = Counts::default();
    for (zone, servers, turned, away) in rows {
        let here = Count {
            servers: number(servers),
            turned: number(turned),
            away: number(away),
        };
        counts.herd.servers += here.servers;
        counts.herd.turned += here.turned;
        counts.herd.away += here.away;
        if let Some(zone) = zone {
            counts.zones.insert(zone, here);
        }
    }
    Ok(counts)
}

fn number(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether too many servers turned bad at once; if so, says how many, for people.
pub fn trips(counts: &Counts) -> Option<String> {
    let says = |count: &Count, whose: &str| {
        too_many(count.turned, count.servers).then(|| {
            format!(
                "{} of {} servers {whose} turned bad within a minute",
                count.turned, count.servers
            )
        })
    };
    says(&counts.herd, "of the herd").or_else(|| {
        counts
            .zones
            .iter()
            .find_map(|(zone, count)| says(count, &format!("of zone {zone}")))
    })
}

/// Whether enough servers are back, everywhere.
pub fn over(counts: &Counts) -> bool {
    std::iter::once(&counts.herd)
        .chain(counts.zones.values())
        .all(|count| !too_many(count.away, count.servers))
}

fn too_many(some: u32, all: u32) -> bool {
    some >= FEWEST && u64::from(some) * 100 > u64::from(all) * u64::from(PER_CENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(servers: u32, turned: u32, away: u32) -> Count {
        Count {
            servers,
            turned,
            away,
        }
    }

    fn herd(herd: Count, zones: &[(&str, Count)]) -> Counts {
        let zones = zones.iter().map(|(zone, c)| ((*zone).to_owned(), *c));
        Counts {
            herd,
            zones: zones.collect(),
        }
    }

    #[test]
    fn one_server_is_never_too_many() {
        for servers in 1..10 {
            let counts = herd(count(servers, 1, 1), &[("a", count(1, 1, 1))]);
            assert_eq!(trips(&counts), None, "{servers}");
            assert!(over(&counts), "{servers}");
        }
    }

    #[test]
    fn two_are_too_many_up_to_six() {
        for servers in 2..=6 {
            let counts = herd(count(servers, 2, 2), &[]);
            assert!(trips(&counts).is_some(), "{servers}");
            assert!(!over(&counts), "{servers}");
        }
        assert_eq!(trips(&herd(count(7, 2, 2), &[])), None);
    }

    #[test]
    fn exactly_thirty_per_cent_are_not_more_than_thirty() {
        assert_eq!(trips(&herd(count(10, 3, 3), &[])), None);
        assert!(over(&herd(count(10, 3, 3), &[])));
        assert_eq!(
            trips(&herd(count(10, 4, 4), &[])).as_deref(),
            Some("4 of 10 servers of the herd turned bad within a minute")
        );
    }

    #[test]
    fn a_zone_alone_trips_it_and_keeps_it() {
        let zones = [("a", count(4, 2, 2)), ("b", count(96, 0, 0))];
        let counts = herd(count(100, 2, 2), &zones);
        assert_eq!(
            trips(&counts).as_deref(),
            Some("2 of 4 servers of zone a turned bad within a minute")
        );
        assert!(!over(&counts));
    }

    #[test]
    fn what_turned_bad_long_ago_keeps_it_but_does_not_trip_it() {
        let counts = herd(count(3, 0, 2), &[]);
        assert_eq!(trips(&counts), None);
        assert!(!over(&counts));
        assert!(over(&herd(count(3, 0, 1), &[])));
        assert!(over(&herd(count(0, 0, 0), &[])));
    }
}
