//! `restart`: a resource's cluster is restarted, letting sessions end (stop mode
//! fast).

use std::time::Duration;

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::kind::{NoParams, Operation, Outcome, Step, Turn, Work};
use super::{await_available, script};

/// A resource's cluster is restarted.
pub(super) struct Restart;

/// Which cluster it is, and which postmaster is to end.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    cluster: String,
    /// Empty: there was none.
    postmaster: String,
}

impl Operation for Restart {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Restart;
    const STEPS: &'static [Step<Self>] = &[
        Step::new("mark", "remember which postmaster it ends", |turn| {
            Box::pin(mark(turn))
        }),
        Step::new("restart", "restart the cluster", |turn| {
            Box::pin(restart(turn))
        })
        .within(Duration::from_secs(25)),
        await_available::step(),
    ];
}

const POSTMASTER: &str = include_str!("../../host/scripts/prelude/postmaster.sh");

const MARK: &str = include_str!("../../host/scripts/mark_postmaster.sh");

const RESTART: &str = include_str!("../../host/scripts/restart_cluster.sh");

async fn mark(turn: &mut Turn<'_, Restart>) -> Work {
    let text = format!("{POSTMASTER}{MARK}");
    let said = script::at_cluster(turn, turn.resource()?, &text, &[], b"").await?;
    let mut lines = said.out.lines().map(str::to_owned);
    turn.memo.cluster = lines.next().unwrap_or_default();
    turn.memo.postmaster = lines.next().unwrap_or_default();
    let runs = match turn.memo.postmaster.is_empty() {
        true => "does not run",
        false => "runs",
    };
    Ok(Outcome::done(format!(
        "cluster {} {runs}",
        turn.memo.cluster
    )))
}

async fn restart(turn: &mut Turn<'_, Restart>) -> Work {
    let text = format!("{POSTMASTER}{RESTART}");
    let marked = [turn.memo.postmaster.as_str()];
    let said = script::at_cluster(turn, turn.resource()?, &text, &marked, b"").await?;
    let cluster = &turn.memo.cluster;
    Ok(Outcome::done(format!("{cluster} {}", said.last_words())))
}
