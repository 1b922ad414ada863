//! Resolve: changes the world. An incident's turn decides what is done about it, an
//! operation's turn does a step.

pub mod incidents;
pub mod operations;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drover::config::GamedayMark;
use drover::model::SecretKey;
use drover::store::queue::{self, Lock, Queue, Token};
use serde_json::Value;
use sqlx::{PgPool, Postgres, Transaction};

use crate::feel::FeelContext;
use crate::ring::{Tiers, Work, WorkError, report_lost};

/// A turn has its subject to itself for this much longer than its step may take: it is
/// cut off a second after its limit, so whoever has lost the token has stopped by then.
const OVER: Duration = Duration::from_secs(5);

/// What resolvers work with.
#[derive(Clone)]
pub struct Tools {
    /// Keys and clouds.
    pub context: FeelContext,
    /// The record, for what else is on a server.
    pub pool: PgPool,
    /// Opens secrets.
    pub secret_key: SecretKey,
    /// The deployment's rules, for subjects of other tiers than the turn's own.
    pub rules: Value,
    /// Whether things may be broken on purpose.
    pub gameday: GamedayMark,
}

/// The work of the queue `resolve`.
#[derive(Clone)]
pub struct Resolve {
    pool: PgPool,
    tools: Arc<Tools>,
    rules: Arc<Tiers>,
    /// When nothing was last found to put the brake on for.
    calm: Arc<Mutex<Option<Instant>>>,
}

impl Resolve {
    /// With these tools.
    pub fn new(pool: PgPool, tools: Tools) -> Self {
        Self {
            rules: Arc::new(Tiers::new(pool.clone(), tools.rules.clone())),
            tools: Arc::new(tools),
            calm: Arc::default(),
            pool,
        }
    }

    /// A transaction in which the token is held.
    ///
    /// # Errors
    /// [`WorkError::LockLost`], which ends the step.
    async fn held(&self, lock: &Lock) -> Result<Transaction<'static, Postgres>, WorkError> {
        let mut tx = self.pool.begin().await?;
        match queue::hold(&mut tx, lock, Queue::Resolve).await? {
            true => Ok(tx),
            false => Err(WorkError::LockLost),
        }
    }
}

impl Work for Resolve {
    async fn step(&self, lock: Lock) -> Result<(), WorkError> {
        let done = match lock.token {
            Token::Incident(id) => self.mend(lock, id).await,
            Token::Operation(id) => self.operate(&lock, id).await,
            Token::Subject(_) | Token::Message(_) => Err(WorkError::Stray(lock.token)),
        };
        if let Err(WorkError::LockLost) = done {
            report_lost(1);
            return Ok(());
        }
        done
    }
}
