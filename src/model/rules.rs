//! The figures that thinking goes by: how often a subject is felt, how long
//! drover waits before it believes the worst, and how much is too much. All of
//! them can differ per tier.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::State;

/// How long after one feel the next is due, by state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cadence {
    /// In service.
    #[serde(with = "duration")]
    pub available: Duration,
    /// It failed to answer.
    #[serde(with = "duration")]
    pub uncertain: Duration,
    /// It is down.
    #[serde(with = "duration")]
    pub unavailable: Duration,
    /// Being made.
    #[serde(with = "duration")]
    pub creating: Duration,
    /// Being taken away.
    #[serde(with = "duration")]
    pub destroying: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            available: Duration::from_secs(30),
            uncertain: Duration::from_secs(2),
            unavailable: Duration::from_secs(5),
            creating: Duration::from_secs(3),
            destroying: Duration::from_secs(3),
        }
    }
}

impl Cadence {
    /// The longest that keeps the ring's promise, one observation of each subject a
    /// minute, whichever worker dies: a tenth of jitter, 15 s until a dead worker's
    /// token is free and 3 s for a feel have to fit in as well.
    pub const LONGEST: Duration = Duration::from_secs(38);

    /// # Errors
    /// If this one is longer; says why it must not be.
    pub fn check(name: &str, cadence: Duration) -> Result<(), String> {
        if cadence <= Self::LONGEST {
            return Ok(());
        }
        Err(format!(
            "{name} must be at most {}, because every live subject is seen once a minute: a \
             tenth of jitter, 15s until a dead worker's token is free and 3s for a feel come on top",
            humantime::format_duration(Self::LONGEST)
        ))
    }

    /// The cadence of a state, before jitter.
    pub fn of(&self, state: State) -> Duration {
        match state {
            State::Creating => self.creating,
            State::Available => self.available,
            State::Uncertain => self.uncertain,
            State::Unavailable => self.unavailable,
            State::Destroying | State::Destroyed => self.destroying,
        }
    }
}

/// How much has to be seen before an uncertain subject counts as unavailable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// One witness alone: this many failures in a row …
    pub failures: u32,
    /// … over at least this long …
    #[serde(with = "duration")]
    pub over: Duration,
    /// … from two different workers, or this long from a single one.
    #[serde(with = "duration")]
    pub single_worker: Duration,
    /// Two witnesses disagree (the port is silent, yet the process lives).
    #[serde(with = "duration")]
    pub disagreement: Duration,
    /// The subject is silent and its second witness cannot be asked either.
    #[serde(with = "duration")]
    pub silent_witness: Duration,
    /// Something alive answers, only not with service: starting up, in
    /// recovery, no connection left, credentials refused.
    #[serde(with = "duration")]
    pub answering: Duration,
    /// From asking for a server or a resource until it has to be there.
    #[serde(with = "duration")]
    pub creation: Duration,
    /// From the beginning of a change, or of a destruction, until its end.
    #[serde(with = "duration")]
    pub change: Duration,
    /// Good observations in a row that make an unavailable subject available.
    pub recoveries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            failures: 3,
            over: Duration::from_secs(5),
            single_worker: Duration::from_secs(15),
            disagreement: Duration::from_secs(30),
            silent_witness: Duration::from_secs(60),
            answering: Duration::from_secs(300),
            creation: Duration::from_secs(1200),
            change: Duration::from_secs(1800),
            recoveries: 2,
        }
    }
}

/// More observations in a row than this are never waited for.
const MOST: u32 = 20;

/// From where on something is wrong with a subject that is in service, and what
/// its playbook goes by. docs/deciding.md says which incident each belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A data volume that is used up to this is critical …
    pub disk_used_ratio: f64,
    /// … and so is one with fewer bytes free.
    pub disk_free_bytes: u64,
    /// With less than this free, databases on it are made read-only.
    pub disk_read_only_free_ratio: f64,
    /// An incident has a data volume grow up to so many GiB.
    pub volume_max_gib: u32,
    /// A data volume is stuck if a small write with fsync takes this long.
    #[serde(with = "duration")]
    pub fsync: Duration,
    /// More connections of those allowed than this are too many.
    pub connections_ratio: f64,
    /// Sessions idle in a transaction for longer may be ended.
    #[serde(with = "duration")]
    pub idle_in_transaction: Duration,
    /// Age of the oldest transaction id, in transactions, from which on tables
    /// are frozen …
    pub xid_age: u64,
    /// … and from which on a human is called.
    pub xid_page_age: u64,
    /// More WAL segments ready and not archived than this are too many.
    pub archive_ready: u64,
    /// An inactive replication slot that holds more bytes of WAL may be dropped.
    pub slot_retained_bytes: u64,
    /// How long one run of `vacuum (freeze)` may take.
    #[serde(with = "duration")]
    pub vacuum: Duration,
    /// A follower that is too far behind for this long, without gaining, is lagging.
    #[serde(with = "duration")]
    pub lag_for: Duration,
    /// A follower that does not stream for this long is stalled.
    #[serde(with = "duration")]
    pub stalled_for: Duration,
    /// A commit that has waited for a follower for this long is one too many.
    #[serde(with = "duration")]
    pub commit_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            disk_used_ratio: 0.90,
            disk_free_bytes: GIB,
            disk_read_only_free_ratio: 0.03,
            volume_max_gib: 1024,
            fsync: Duration::from_secs(5),
            connections_ratio: 0.95,
            idle_in_transaction: Duration::from_secs(600),
            xid_age: 1_200_000_000,
            xid_page_age: 1_600_000_000,
            archive_ready: 100,
            slot_retained_bytes: 10 * GIB,
            vacuum: Duration::from_secs(1800),
            lag_for: Duration::from_secs(300),
            stalled_for: Duration::from_secs(30),
            commit_wait: Duration::from_secs(30),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        let ratios = [
            ("disk_used_ratio", self.disk_used_ratio, 0.05, 1.0),
            (
                "disk_read_only_free_ratio",
                self.disk_read_only_free_ratio,
                0.0,
                0.5,
            ),
            ("connections_ratio", self.connections_ratio, 0.1, 1.0),
        ];
        for (name, value, least, most) in ratios {
            if !(least..=most).contains(&value) {
                return Err(format!(
                    "rules: limits.{name} must be from {least} to {most}"
                ));
            }
        }
        let seconds = Duration::from_secs;
        let durations = [
            // The probe itself gives up soon after 5 s.
            ("fsync", self.fsync, Duration::from_millis(10), seconds(5)),
            (
                "idle_in_transaction",
                self.idle_in_transaction,
                seconds(1),
                seconds(86_400),
            ),
            ("vacuum", self.vacuum, seconds(1), seconds(86_400)),
            // Of a follower, 20 minutes are looked at.
            ("lag_for", self.lag_for, seconds(1), seconds(900)),
            ("stalled_for", self.stalled_for, seconds(1), seconds(300)),
            ("commit_wait", self.commit_wait, seconds(1), seconds(600)),
        ];
        for (name, value, least, most) in durations {
            if value < least || value > most {
                return Err(format!(
                    "rules: limits.{name} must be from {} to {}",
                    humantime::format_duration(least),
                    humantime::format_duration(most)
                ));
            }
        }
        // PostgreSQL itself stops at about 2^31 transactions.
        let xids = 1_000..=2_100_000_000;
        if !xids.contains(&self.xid_age) || !xids.contains(&self.xid_page_age) {
            return Err(
                "rules: limits.xid_age and limits.xid_page_age must be from 1000 to 2100000000"
                    .into(),
            );
        }
        if self.xid_page_age < self.xid_age {
            return Err("rules: limits.xid_page_age must not be below limits.xid_age".into());
        }
        if !(1..=65_536).contains(&self.volume_max_gib) {
            return Err("rules: limits.volume_max_gib must be from 1 to 65536".into());
        }
        if !(1..=1_000_000).contains(&self.archive_ready) {
            return Err("rules: limits.archive_ready must be from 1 to 1000000".into());
        }
        // What an exact JSON number holds in every language.
        let bytes = 0..=(1_u64 << 53);
        if !bytes.contains(&self.disk_free_bytes) || !bytes.contains(&self.slot_retained_bytes) {
            return Err(format!(
                "rules: limits.disk_free_bytes and limits.slot_retained_bytes must be from 0 to {}",
                bytes.end()
            ));
        }
        Ok(())
    }
}

/// Cadence, patience and limits together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How often.
    pub cadence: Cadence,
    /// How long.
    pub patience: Patience,
    /// How much.
    pub limits: Limits,
}

impl Rules {
    /// The built-in rules, with each layer's entries laid over them in turn: the
    /// deployment's (`DROVER_RULES`), then the tier's.
    ///
    /// # Errors
    /// Says which entry is unknown or out of its range.
    pub fn layered(layers: &[&Value]) -> Result<Self, String> {
        let mut merged = serde_json::to_value(Rules::default()).map_err(|e| e.to_string())?;
        for layer in layers {
            lay_over(&mut merged, layer)?;
        }
        let rules: Rules = serde_json::from_value(merged).map_err(|e| format!("rules: {e}"))?;
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), String> {
        for state in State::ALL.iter().copied() {
            let cadence = self.cadence.of(state);
            if cadence < Duration::from_millis(100) {
                return Err(format!("rules: cadence.{state} must be at least 100ms"));
            }
            Cadence::check(&format!("rules: cadence.{state}"), cadence)?;
        }
        let counted = 1..=MOST;
        if !counted.contains(&self.patience.failures)
            || !counted.contains(&self.patience.recoveries)
        {
            return Err(format!(
                "rules: patience.failures and patience.recoveries must be from 1 to {MOST}"
            ));
        }
        self.limits.check()
    }
}

fn lay_over(base: &mut Value, layer: &Value) -> Result<(), String> {
    match (base, layer) {
        (Value::Object(base), Value::Object(layer)) => {
            for (key, value) in layer {
                match base.get_mut(key) {
                    Some(slot) => lay_over(slot, value)?,
                    None => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        // serde would take an array for a struct, and an empty one for its defaults.
        (Value::Object(base), _) => {
            let names: Vec<_> = base.keys().map(String::as_str).collect();
            return Err(format!(
                "rules: an object is needed here, with some of: {}",
                names.join(", ")
            ));
        }
        (base, layer) => *base = layer.clone(),
    }
    Ok(())
}

/// Durations as people write them: `"5s"`, `"1m 30s"`, `"250ms"`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|e| {
            serde::de::Error::custom(format!("`{text}` is no duration such as 5s: {e}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tier_changes_only_what_it_names() {
        let deployment = json!({"cadence": {"available": "5s"}});
        let tier = json!({"cadence": {"uncertain": "1s"}, "patience": {"failures": 2}});
        let rules = Rules::layered(&[&deployment, &tier]).unwrap();
        assert_eq!(rules.cadence.available, Duration::from_secs(5));
        assert_eq!(rules.cadence.uncertain, Duration::from_secs(1));
        assert_eq!(rules.cadence.unavailable, Duration::from_secs(5));
        assert_eq!(rules.patience.failures, 2);
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let error = |layer: Value| Rules::layered(&[&layer]).unwrap_err();
        assert!(error(json!({"cadence": {"available": "39s"}})).contains("at most 38s"));
        assert!(error(json!({"cadence": {"creating": "38s 1ms"}})).contains("cadence.creating"));
        assert!(error(json!({"cadence": {"available": "0s"}})).contains("at least 100ms"));
        assert!(error(json!({"cadence": {"avalable": "5s"}})).contains("avalable"));
        assert!(error(json!({"cadence": {"available": 5}})).contains("rules"));
        assert!(error(json!({"patience": {"failures": 0}})).contains("from 1 to 20"));
        assert!(error(json!({"limits": {"disk_used_ratio": 90}})).contains("from 0.05 to 1"));
        assert!(error(json!({"limits": {"fsync": "6s"}})).contains("from 10ms to 5s"));
        assert!(error(json!({"limits": {"xid_age": 10}})).contains("xid_age"));
        assert!(error(json!({"limits": {"lag_for": "1h"}})).contains("from 1s to 15m"));
        assert!(error(json!({"limits": {"stalled_for": "0s"}})).contains("from 1s to 5m"));
        assert!(error(json!({"limits": {"xid_age": 1_700_000_000}})).contains("below"));
        assert!(error(json!({"limits": {"archive_ready": 0}})).contains("archive_ready"));
        assert!(error(json!({"limits": {"disk_free_bytes": -1}})).contains("rules"));
        assert!(error(json!({"limits": {"disk_free": 1}})).contains("disk_free"));
        assert!(error(json!([])).contains("rules"));
        assert!(error(json!({"cadence": []})).contains("available"));
    }
}
