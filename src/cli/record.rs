//! `drover adopt-record`: brings an old record up to what the servers know.

use std::time::Duration;

use clap::Args;
use drover::api::{
    AdoptRecord, Operation, OperationTimeline, Record, RecordDifference, RecordNode,
};
use drover::model::{OperationId, OperationState, PublicId};

use super::table::{or_dash, plain};
use super::{Answer, Failure, Session};

/// How long it is waited for.
const WAITS: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// What stands behind `drover adopt-record`.
#[derive(Args)]
pub struct Adoption {
    /// Do it; without this, the differences are shown and nothing is changed.
    #[arg(long)]
    yes: bool,
    /// Who leads where the nodes do not say it: db_…; may be given more than once.
    #[arg(long = "leader", value_name = "ID", requires = "yes")]
    leaders: Vec<PublicId>,
    /// This control database is another's copy: make it a deployment of its own, in mode hold.
    #[arg(long, requires = "yes", conflicts_with = "leaders")]
    copy: bool,
    /// Why, for the timeline.
    #[arg(long, requires = "yes")]
    reason: Option<String>,
    /// Who asks, for the timeline [default: $USER].
    #[arg(long, requires = "yes", value_name = "NAME")]
    by: Option<String>,
}

/// Shows what differs, or adopts it.
pub async fn run(to: &Session<'_>, asked: Adoption) -> Result<(), Failure> {
    if !asked.yes {
        return to.show("/v1/record", shown).await;
    }
    let body = AdoptRecord {
        leaders: asked.leaders,
        copy: asked.copy,
        reason: asked.reason,
        by: to.by(asked.by),
    };
    let begun: Answer<Operation> = to.client.post("/v1/record/adopt", &body).await?;
    let ended = wait(to, begun.running.id.0).await?;
    let words = plain(&last_words(&ended));
    match ended.operation.running.state {
        OperationState::Done => to.answer(&ended, |_| format!("The record was adopted: {words}")),
        OperationState::Open => Err(Failure::Failed(format!(
            "not done within {} s: {words}; drover operations shows it",
            WAITS.as_secs()
        ))),
        OperationState::Cancelled | OperationState::Failed | OperationState::Skipped => {
            Err(Failure::Failed(words))
        }
    }
}

async fn wait(to: &Session<'_>, id: OperationId) -> Result<Answer<OperationTimeline>, Failure> {
    let begun = std::time::Instant::now();
    loop {
        let path = format!("/v1/operations/{}", id.public());
        let now: Answer<OperationTimeline> = to.client.get(&path).await?;
        let over = now.operation.running.state != OperationState::Open;
        if over || now.operation.running.stuck_since.is_some() || begun.elapsed() > WAITS {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn last_words(ended: &OperationTimeline) -> String {
    let running = &ended.operation.running;
    // How it ended, and not who was told of it.
    let end = ended.events.iter().rev();
    let end = end
        .into_iter()
        .find(|event| event.kind == running.state.as_str());
    let note = running.note.clone();
    note.or(end.map(|event| event.text.clone()))
        .unwrap_or_default()
}

fn shown(record: &Record) -> String {
    let mut out = format!("deployment {}\n", plain(&record.deployment));
    if let Some(own) = record.hosted_by {
        out +=
            &format!("kept in {own}, which drover watches: nothing is mended while that is away\n");
    }
    match &record.doubt {
        None => out += "The servers know no more than the record.\n",
        Some(why) => {
            out += &format!("in doubt: {}\n", plain(why));
            out += "Nothing is changed until the record is adopted: drover adopt-record --yes\n";
        }
    }
    for difference in &record.differences {
        out += &format!("\n{}\n", group(difference));
    }
    out
}

fn group(of: &RecordDifference) -> String {
    let leads = match (&of.leads, &of.why) {
        (Some(leads), _) if *leads == of.leader => "leads, as the record has it".to_owned(),
        (Some(leads), _) => format!("{leads} leads in its place"),
        (None, why) => format!(
            "who leads is not known: {}; say it with --leader",
            plain(&or_dash(why.as_ref()))
        ),
    };
    let mut out = format!("{} ({}): {leads}", plain(&of.name), of.leader);
    for node in &of.nodes {
        out += &format!("\n- {}", seen(node));
    }
    out
}

/// `db_… (app-f1) takes writes; it knows epoch 3, the record 2`.
fn seen(node: &RecordNode) -> String {
    let writes = match node.takes_writes {
        Some(true) => "takes writes",
        Some(false) => "follows",
        None => "was not seen in service",
    };
    let knows = match node.epoch {
        Some(epoch) => format!("it knows epoch {epoch}, the record {}", node.recorded_epoch),
        None => "what it has obeyed is not known".into(),
    };
    format!("{} ({}) {writes}; {knows}", node.id, plain(&node.name))
}
