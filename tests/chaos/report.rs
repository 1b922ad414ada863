//! What a run says: a line for everything that happens, and a summary.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plan::{Fault, Plan};

/// Counts and tells.
pub struct Report {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    faults: BTreeMap<&'static str, usize>,
    at_leaders: usize,
    not_begun: usize,
    /// When each began that did.
    began: Vec<Duration>,
    asked: usize,
    refused: usize,
    person: usize,
    overridden: usize,
}

impl Report {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            counts: Mutex::default(),
        }
    }

    /// One line, with the time.
    pub fn say(&self, line: &str) {
        println!("{:7.1} s  {line}", self.began.elapsed().as_secs_f64());
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn begun(&self, fault: &Fault, at: &str) {
        let lasts = match fault.lasts {
            Duration::ZERO => String::new(),
            lasts => format!(", for {:.0} s", lasts.as_secs_f64()),
        };
        self.say(&format!("! {} ({at}){lasts}", fault.what));
        let mut counts = self.counts();
        *counts.faults.entry(fault.what.kind()).or_default() += 1;
        counts.at_leaders += usize::from(fault.what.hits_a_leader());
        counts.began.push(fault.at);
    }

    pub fn not_begun(&self, fault: &Fault, why: &anyhow::Error) {
        self.say(&format!("- {}: cannot be: {why:#}", fault.what));
        self.counts().not_begun += 1;
    }

    pub fn healed(&self, fault: &Fault) {
        self.say(&format!("  over: {}", fault.what));
    }

    pub fn asked(&self, what: &str, outcome: &anyhow::Result<String>) {
        match outcome {
            Ok(id) => self.say(&format!("? {what}: {id}")),
            Err(e) => self.say(&format!("? {what}: refused: {e:#}")),
        }
        let mut counts = self.counts();
        counts.asked += 1;
        counts.refused += usize::from(outcome.is_err());
    }

    pub fn person(&self, what: &str) {
        self.say(&format!("& a person: {what}"));
        let mut counts = self.counts();
        counts.person += 1;
        counts.overridden += usize::from(what.starts_with("override"));
    }

    /// What was broken and asked.
    pub fn summary(&self, plan: &Plan) -> Value {
        let counts = self.counts();
        let mut began = counts.began.clone();
        began.sort();
        let near = |at: usize, other: Option<usize>| {
            let other = other.and_then(|other| began.get(other));
            other.is_some_and(|other| began[at].abs_diff(*other) < Duration::from_secs(5))
        };
        let overlapping = (0..began.len())
            .filter(|at| near(*at, at.checked_sub(1)) || near(*at, Some(at + 1)))
            .count();
        json!({
            "seed": plan.seed,
            "minutes": plan.minutes,
            "faults": began.len(),
            "faults_by_kind": counts.faults,
            "faults_at_a_leader": counts.at_leaders,
            "faults_within_5_s_of_another": overlapping,
            "faults_not_begun": counts.not_begun,
            "asked_by_operators": counts.asked,
            "refused": counts.refused,
            "done_by_a_person": counts.person,
            "overridden": counts.overridden,
        })
    }
}

/// The table that people read.
pub fn print(summary: &Value) {
    for (name, value) in summary.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(parts) => {
                for (part, value) in parts {
                    println!("{:<44}{value}", format!("{name}: {part}"));
                }
            }
            None => println!("{name:<44}{value}"),
        }
    }
}
