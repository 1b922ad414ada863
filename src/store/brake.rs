//! The brake: when too much of the herd fails at once, it is more likely the
//! observer than the herd, or something that restarts would only make worse.
//!
//! A zone has a brake of its own, and a dead one stops no other: the herd's is for what fails
//! in several.
//!
//! What has been bad since before the last `blind` incident there was closed does not
//! count again: a human has seen it, or it is what came back too late.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::statement::{rows, value};
use crate::model::{OperationKind, SubjectId};

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
                 select zone, max(resolved_at) as at from incidents
                 where subject_id is null and kind = 'blind' and state = 'resolved'
                 group by zone),
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
             select f.zone, count(*),
                    count(*) filter (
                        where f.at > c.at and f.lately > now() - interval '{AT_ONCE}'),
                    count(*) filter (where f.at > c.at)
             from (select distinct zone from standing) here
             join lateral (
                 select coalesce(max(at), '-infinity') as at from closed
                 where closed.zone is null or closed.zone = here.zone) c on true
             join fallen f on f.zone is not distinct from here.zone
             group by f.zone"
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

/// Too many servers turned bad at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// In which zone; `None`: in the herd.
    pub zone: Option<String>,
    /// How many, for people.
    pub reason: String,
}

impl Counts {
    /// Whether it trips nowhere.
    pub fn are_calm(&self) -> bool {
        let zones = self.zones.keys().map(|zone| Some(zone.as_str()));
        zones.chain([None]).all(|zone| trips(self, zone).is_none())
    }

    /// Whether too many of the herd are so, and not in one zone alone.
    fn in_several(&self, of: impl Fn(&Count) -> u32) -> bool {
        let some = of(&self.herd);
        let of_one = self.zones.values().map(of).max().unwrap_or_default();
        of_one < some && too_many(some, self.herd.servers)
    }
}

/// Whether too many servers of the herd, or of this zone, turned bad at once.
pub fn trips(counts: &Counts, zone: Option<&str>) -> Option<Trip> {
    let trip = |count: &Count, zone: Option<&str>| {
        let whose = zone.map_or("the herd".into(), |zone| format!("zone {zone}"));
        let (turned, servers) = (count.turned, count.servers);
        let reason = format!("{turned} of {servers} servers of {whose} turned bad within a minute");
        let zone = zone.map(str::to_owned);
        Trip { zone, reason }
    };
    if counts.in_several(|count| count.turned) {
        return Some(trip(&counts.herd, None));
    }
    let here = counts.zones.get(zone?)?;
    too_many(here.turned, here.servers).then(|| trip(here, zone))
}

/// Whether enough servers of this zone, or of the herd, are back.
pub fn over(counts: &Counts, zone: Option<&str>) -> bool {
    match zone {
        None => !counts.in_several(|count| count.away),
        Some(zone) => {
            let here = counts.zones.get(zone).copied().unwrap_or_default();
            !too_many(here.away, here.servers)
        }
    }
}

/// The zone that a server, or a resource's server, is in.
pub async fn zone_of(
    db: &mut PgConnection,
    subject: Option<SubjectId>,
) -> sqlx::Result<Option<String>> {
    let Some(subject) = subject else {
        return Ok(None);
    };
    let sql = "select zone from servers
               where id = coalesce((select server_id from resources where id = $1), $1)
                 and zone is not null";
    value(db, sql, [subject]).await
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
            assert!(counts.are_calm(), "{servers}");
            assert!(over(&counts, None) && over(&counts, Some("a")), "{servers}");
        }
    }

    #[test]
    fn two_are_too_many_up_to_six() {
        for servers in 2..=6 {
            let counts = herd(count(servers, 2, 2), &[]);
            assert!(trips(&counts, None).is_some(), "{servers}");
            assert!(!over(&counts, None), "{servers}");
        }
        assert!(herd(count(7, 2, 2), &[]).are_calm());
    }

    #[test]
    fn exactly_thirty_per_cent_are_not_more_than_thirty() {
        assert!(herd(count(10, 3, 3), &[]).are_calm());
        assert!(over(&herd(count(10, 3, 3), &[]), None));
        let trip = trips(&herd(count(10, 4, 4), &[]), Some("a")).unwrap();
        let reason = "4 of 10 servers of the herd turned bad within a minute".into();
        assert_eq!(trip, Trip { zone: None, reason });
    }

    #[test]
    fn a_zone_that_is_dead_stops_no_other() {
        // However much of the herd it is.
        for b in [6, 96] {
            let zones = [("a", count(4, 4, 4)), ("b", count(b, 0, 0))];
            let counts = herd(count(4 + b, 4, 4), &zones);
            let trip = trips(&counts, Some("a")).unwrap();
            let reason = "4 of 4 servers of zone a turned bad within a minute".into();
            let zone = Some("a".into());
            assert_eq!(trip, Trip { zone, reason });
            assert!(!over(&counts, Some("a")) && !counts.are_calm());
            for other in [None, Some("b"), Some("unknown")] {
                assert_eq!(trips(&counts, other), None);
                assert!(over(&counts, other));
            }
        }
    }

    #[test]
    fn what_fails_in_several_zones_is_the_herds() {
        let zones = [("a", count(5, 3, 3)), ("b", count(5, 1, 1))];
        let counts = herd(count(10, 4, 4), &zones);
        for zone in [None, Some("a"), Some("b")] {
            assert_eq!(trips(&counts, zone).unwrap().zone, None);
        }
        assert!(!over(&counts, None));
        // A server of whose zone nobody knows may be in any.
        let counts = herd(count(10, 4, 4), &[("a", count(3, 3, 3))]);
        assert_eq!(trips(&counts, None).unwrap().zone, None);
    }

    #[test]
    fn what_turned_bad_long_ago_keeps_it_but_does_not_trip_it() {
        let counts = herd(count(3, 0, 2), &[]);
        assert!(counts.are_calm());
        assert!(!over(&counts, None));
        assert!(over(&herd(count(3, 0, 1), &[]), None));
        assert!(over(&herd(count(0, 0, 0), &[]), None));
    }
}
