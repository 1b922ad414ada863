//! The laws over what customers saw: pure functions of what they have written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use drover_tests::ledger::Entry;

/// A commit that was acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub n: u64,
    /// Since the customers began.
    pub sent: Duration,
    pub acked: Duration,
    /// The address of the node that accepted it.
    pub by: String,
    pub timeline: u32,
    /// Whether PostgreSQL warned that a follower may not have it.
    pub warned: bool,
}

impl Write {
    pub fn new(entry: &Entry, zero: std::time::Instant) -> Self {
        Self {
            n: entry.n,
            sent: entry.began.saturating_duration_since(zero),
            acked: entry.ended.saturating_duration_since(zero),
            by: entry.by.clone(),
            timeline: entry.timeline,
            warned: entry.warned,
        }
    }
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "write {} sent {:.3} s, acknowledged {:.3} s by {} on timeline {}{}",
            self.n,
            self.sent.as_secs_f64(),
            self.acked.as_secs_f64(),
            self.by,
            self.timeline,
            if self.warned { " with a warning" } else { "" },
        )
    }
}

/// A law that was broken, and what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    pub law: &'static str,
    pub evidence: String,
}

impl Broken {
    pub fn new(law: &'static str, evidence: impl Into<String>) -> Self {
        Self {
            law,
            evidence: evidence.into(),
        }
    }
}

pub type Law = Result<(), Broken>;

/// A timeline is begun by one promotion of one node: no other node accepts a write on it.
pub fn one_node_on_a_timeline(writes: &[Write]) -> Law {
    let mut first: BTreeMap<u32, &Write> = BTreeMap::new();
    for write in writes {
        let known = first.entry(write.timeline).or_insert(write);
        if known.by != write.by {
            let law = "one node accepts writes on a timeline";
            return Err(Broken::new(law, format!("{known}\n{write}")));
        }
    }
    Ok(())
}

/// Who has lost the lead accepts nothing any more: what was sent after somebody acknowledged a
/// write on a newer timeline is accepted on that one, or on a newer one still.
pub fn no_write_behind_a_newer_leader(writes: &[Write]) -> Law {
    let mut by_end: Vec<&Write> = writes.iter().collect();
    by_end.sort_by_key(|write| write.acked);
    let mut by_start: Vec<&Write> = writes.iter().collect();
    by_start.sort_by_key(|write| write.sent);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<&Write> = None;
    for write in by_start {
        while let Some(before) = ended.next_if(|before| before.acked < write.sent) {
            if newest.is_none_or(|newest| newest.timeline < before.timeline) {
                newest = Some(before);
            }
        }
        if let Some(newest) = newest
            && newest.timeline > write.timeline
        {
            let law = "no write is accepted behind a newer leader's";
            return Err(Broken::new(law, format!("{newest}\n{write}")));
        }
    }
    Ok(())
}

/// Writes were accepted by those alone who led by the record, in that order. `reigns` are the
/// addresses of all leaders, the first one first.
pub fn as_the_record_has_it(writes: &[Write], reigns: &[String]) -> Law {
    let mut by_start: Vec<&Write> = writes.iter().collect();
    by_start.sort_by_key(|write| write.sent);
    // The earliest reign that each can have been in, and where those that were over stood.
    let mut placed: Vec<(Duration, usize)> = Vec::new();
    for write in by_start {
        let over = placed.iter().filter(|(acked, _)| *acked < write.sent);
        let least = over.map(|(_, reign)| *reign).max().unwrap_or_default();
        let reign = (least..reigns.len()).find(|at| reigns[*at] == write.by);
        let Some(reign) = reign else {
            let law = "who accepts writes leads by the record";
            let evidence = format!(
                "{write}\nleaders by the record, in their order: {}\nbefore it, writes were \
                 accepted by number {} of these",
                reigns.join(", "),
                least + 1
            );
            return Err(Broken::new(law, evidence));
        };
        // One for each reign is enough: the one that was over first.
        match placed.iter_mut().find(|(_, known)| *known == reign) {
            Some((acked, _)) => *acked = (*acked).min(write.acked),
            None => placed.push((write.acked, reign)),
        }
    }
    Ok(())
}

/// What was acknowledged without a warning is there. For durability `sync`.
pub fn nothing_is_lost(writes: &[Write], there: &HashSet<u64>) -> Law {
    let lost = writes.iter().filter(|write| !write.warned);
    let lost = Vec::from_iter(lost.filter(|write| !there.contains(&write.n)));
    if lost.is_empty() {
        return Ok(());
    }
    let law = "with sync, nothing is lost that was acknowledged";
    Err(Broken::new(law, listed(&lost)))
}

/// A failover, and what the record says of what it has lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Where the old leader was.
    pub from: String,
    /// The timeline that the new leader began; none: the record has no number.
    pub timeline: Option<u32>,
    pub said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, in so many words or by saying no more.
    Nothing,
    /// So many bytes of WAL.
    Bytes(u64),
    /// The old leader was copied anew or is gone: nobody could count.
    Uncounted,
}

/// WAL of one row of a ledger, at the least: a heap tuple, an index tuple and a commit.
const ROW_BYTES: u64 = 120;

/// What is lost was accepted by a leader that was failed over from, and no more of it than the
/// record says. For durability `async`. Gives how many were lost as said, and uncounted.
pub fn lost_as_said(
    writes: &[Write],
    there: &HashSet<u64>,
    losses: &[Loss],
) -> Result<(usize, usize), Broken> {
    let law = "with async, what is lost stands in the record";
    let lost = Vec::from_iter(writes.iter().filter(|write| !there.contains(&write.n)));
    let mut of_each: HashMap<usize, Vec<&Write>> = HashMap::new();
    for write in lost {
        // The first one after which that timeline was no longer the newest.
        let mut ended = losses.iter().enumerate().filter(|(_, loss)| {
            loss.from == write.by && loss.timeline.is_none_or(|began| began > write.timeline)
        });
        let Some((at, _)) = ended.next() else {
            let evidence = format!("{write}\nis lost, and no failover was from there behind it");
            return Err(Broken::new(law, evidence));
        };
        of_each.entry(at).or_default().push(write);
    }
    let (mut said, mut uncounted) = (0, 0);
    for (at, lost) in of_each {
        let least = ROW_BYTES * lost.len() as u64;
        match losses[at].said {
            Said::Bytes(bytes) if bytes >= least => said += lost.len(),
            Said::Uncounted => uncounted += lost.len(),
            Said::Bytes(_) | Said::Nothing => {
                let evidence = format!("{:?}\n{}", losses[at], listed(&lost));
                return Err(Broken::new(law, evidence));
            }
        }
    }
    Ok((said, uncounted))
}

fn listed(writes: &[&Write]) -> String {
    let mut lines: Vec<String> = writes.iter().take(20).map(ToString::to_string).collect();
    if writes.len() > 20 {
        lines.push(format!("… and {} more", writes.len() - 20));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
