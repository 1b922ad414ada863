//! Kinds whose steps are not functions yet.

use std::time::Duration;

use drover::model::OperationKind;
use futures::future::BoxFuture;
use serde_json::Value;

use super::kind::{AnyOperation, Context, Did, Outcome, StepInfo, Work};

/// What is done for an operation of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Book {
    pub steps: &'static [Step],
    pub creates: bool,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub name: &'static str,
    pub does: &'static str,
    pub limit: Duration,
}

impl Step {
    pub const fn new(name: &'static str, does: &'static str) -> Self {
        Self {
            name,
            does,
            limit: Duration::from_secs(20),
        }
    }
}

pub struct Legacy {
    pub kind: OperationKind,
    pub book: &'static Book,
    pub perform: for<'t, 'a> fn(&'t Context<'a>) -> BoxFuture<'t, Work>,
}

impl AnyOperation for Legacy {
    fn kind(&self) -> OperationKind {
        self.kind
    }

    fn steps(&self) -> Vec<StepInfo> {
        let info = |step: &Step| StepInfo {
            name: step.name,
            does: step.does,
            limit: step.limit,
        };
        self.book.steps.iter().map(info).collect()
    }

    fn perform<'t>(&'t self, mut context: Context<'t>, step: &'t str) -> BoxFuture<'t, Did> {
        Box::pin(async move {
            let Some(step) = self.book.steps.iter().find(|known| known.name == step) else {
                let why = format!("this release of drover knows no step `{step}` here");
                return Did {
                    outcome: Outcome::hopeless(why),
                    memo: None,
                };
            };
            context.step = step.name;
            let outcome = (self.perform)(&context).await;
            Did {
                outcome: outcome.unwrap_or_else(|outcome| outcome),
                memo: None,
            }
        })
    }

    fn reads(&self, _memo: &Value) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

/// No step has this name: the record is of another release.
pub fn unknown(step: &str) -> Work {
    Err(Outcome::hopeless(format!(
        "this release of drover knows no step `{step}` here"
    )))
}
